"""What the table classes of the books share: their root, and how money is kept."""

from __future__ import annotations

from typing import Any

from sqlmodel import BigInteger, Column, Field, MetaData, SQLModel

METADATA = MetaData()


class Books(SQLModel):
    """The root of the books' table classes; their schema is `METADATA`."""

    metadata = METADATA


def money() -> Any:
    """Return a column of minor units."""
    return Field(sa_column=Column(BigInteger, nullable=False))
