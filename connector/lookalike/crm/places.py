"""Countries and states for orgs whose addresses take them from picklists: `FR` is France, `US` `CA` is California.

The names are those that Salesforce suggests when an org turns the picklists on; fewer countries than it knows, the rest are
refused as an unknown country is.
"""

from __future__ import annotations

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.table import Row

COUNTRIES = dict(
    pair.split("=")
    for pair in ["AE=United Arab Emirates", "AR=Argentina", "AT=Austria", "AU=Australia", "BE=Belgium", "BG=Bulgaria", "BR=Brazil", "CA=Canada", "CH=Switzerland", "CL=Chile", "CN=China", "CO=Colombia", "CY=Cyprus", "CZ=Czechia", "DE=Germany", "DK=Denmark", "EE=Estonia", "EG=Egypt", "ES=Spain", "FI=Finland", "FR=France", "GB=United Kingdom", "GR=Greece", "HK=Hong Kong", "HR=Croatia", "HU=Hungary", "ID=Indonesia", "IE=Ireland", "IL=Israel", "IN=India", "IS=Iceland", "IT=Italy", "JP=Japan", "KR=Korea, Republic of", "LI=Liechtenstein", "LT=Lithuania", "LU=Luxembourg", "LV=Latvia", "MA=Morocco", "MC=Monaco", "MT=Malta", "MX=Mexico", "MY=Malaysia", "NL=Netherlands", "NO=Norway", "NZ=New Zealand", "PE=Peru", "PH=Philippines", "PL=Poland", "PT=Portugal", "RO=Romania", "RS=Serbia", "SA=Saudi Arabia", "SE=Sweden", "SG=Singapore", "SI=Slovenia", "SK=Slovakia", "TH=Thailand", "TN=Tunisia", "TR=Türkiye", "TW=Taiwan", "UA=Ukraine", "US=United States", "UY=Uruguay", "VN=Viet Nam", "ZA=South Africa"]
)
STATES = {
    "AU": {"NSW": "New South Wales", "QLD": "Queensland", "SA": "South Australia", "TAS": "Tasmania", "VIC": "Victoria", "WA": "Western Australia"},
    "CA": {
        "AB": "Alberta", "BC": "British Columbia", "MB": "Manitoba", "NB": "New Brunswick", "NL": "Newfoundland and Labrador", "NS": "Nova Scotia",
        "ON": "Ontario", "PE": "Prince Edward Island", "QC": "Quebec", "SK": "Saskatchewan",
    },
    "US": dict(
        pair.split("=")
        for pair in ["AL=Alabama", "AK=Alaska", "AZ=Arizona", "AR=Arkansas", "CA=California", "CO=Colorado", "CT=Connecticut", "DC=District of Columbia", "DE=Delaware", "FL=Florida", "GA=Georgia", "HI=Hawaii", "IA=Iowa", "ID=Idaho", "IL=Illinois", "IN=Indiana", "KS=Kansas", "KY=Kentucky", "LA=Louisiana", "MA=Massachusetts", "MD=Maryland", "ME=Maine", "MI=Michigan", "MN=Minnesota", "MO=Missouri", "MS=Mississippi", "MT=Montana", "NC=North Carolina", "ND=North Dakota", "NE=Nebraska", "NH=New Hampshire", "NJ=New Jersey", "NM=New Mexico", "NV=Nevada", "NY=New York", "OH=Ohio", "OK=Oklahoma", "OR=Oregon", "PA=Pennsylvania", "RI=Rhode Island", "SC=South Carolina", "SD=South Dakota", "TN=Tennessee", "TX=Texas", "UT=Utah", "VA=Virginia", "VT=Vermont", "WA=Washington", "WI=Wisconsin", "WV=West Virginia", "WY=Wyoming"]
    ),
}  # fmt: skip


def settle_address(draft: Row, old: Row | None, prefix: str) -> None:
    """Make country and state of an address agree with their codes; what was changed decides. Raises: Refusal."""
    before = old or {}
    _settle(draft, before, f"{prefix}Country", COUNTRIES, "country")
    states = STATES.get(draft.get(f"{prefix}CountryCode", ""), {})
    if draft.get(f"{prefix}State") or draft.get(f"{prefix}StateCode"):
        _settle(draft, before, f"{prefix}State", states, "state")


def _settle(draft: Row, before: Row, name: str, known: dict[str, str], what: str) -> None:
    code, text = draft.get(f"{name}Code"), draft.get(name)
    if code != before.get(f"{name}Code") and code is not None:
        found = str(code).upper() if str(code).upper() in known else None
    elif text != before.get(name) and text is not None:
        found = next((key for key, value in known.items() if value.lower() == str(text).lower()), None)
    elif code is None or text is None:
        draft[name] = draft[f"{name}Code"] = None
        return
    else:
        found = str(code) if code in known else None
    if found is None:
        raise Refusal(
            "FIELD_INTEGRITY_EXCEPTION",
            f"There's a problem with this {what}, even though it may appear correct. Please select a {what} from the list of valid "
            f"{'countries' if what == 'country' else 'states'}.: {name}",
            fields=(name,),
        )
    draft[name], draft[f"{name}Code"] = known[found], found
