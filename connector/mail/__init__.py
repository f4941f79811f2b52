"""Mails: their words in English and French, and the server they leave by.

Owns: subject, text and HTML of each kind of mail, what a mail server's answers mean. Does not own: which mail is written when
(`billing.outbox`), how often a failed one is tried (`posting`), the words of documents (`documents`).

Invariants: HTML is escaped; a mail tried again has the Message-ID it had, so that a server or reader that got it twice knows it.
"""
