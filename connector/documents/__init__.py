"""Documents: what the customer's customers read, whichever way it reaches them (page, PDF, mail).

Owns: the words and formats in English and French, the values a document shows, how they are set as PDF.
Does not own: any figure (billing), any address or token (web), how mails travel.
"""
