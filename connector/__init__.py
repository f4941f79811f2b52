"""The connector: from closed deals in a Salesforce-style CRM to correct bills, and back onto the CRM's records.

How data walks, one direction, no room calls back:

    CRM --poll--> [staged] --map--> [mapped] --decide + apply--> [applied] --write back--> [written] --> CRM

Each state is a row of the sync ledger; what fails is [waiting] or [parked]. Rooms, from the door inwards; arrows point down:

    cli, printing     verbs of the command line, exit codes, what they print
    demo, verbs       the demo story; one function a verb
    demo_stripe       the look-alike of Stripe that the demo may bill on
    service           pages and jobs over the house
    doctor            what `connector check` looks at, and what is wrong with it
    posting           mails of the outbox on their way to the server, with bounded tries
    portal, quoted    what customers see and ask for behind their links
    shown             what stands behind the link of an invoice or credit note
    hooked            what Stripe sends us of what happened there
    cashier           the console's invoices, and payments recorded there
    papers            invoices as pages and PDF, with the seller of the configuration
    app               composition root: with backends the only file that names concrete adapters
    backends          which billing backend a configuration means, and whom its key must belong to
    daemon, web, config, simulate, migrations
    sync              ledger, decide (pure), the four passes, rounds
    mapping           YAML field mappings (pure): language, check, compile, preview
    crm, billing      adapters: simple-salesforce; the books and the internal engine
    payments, mail    whoever charges stored methods; the words of mails and the server they leave by
    lookalike         the demo CRM; shares no code with crm and billing
    documents         what customers read: words, formats, values of a document, PDF
    ports             protocols and the values that cross them
    accounts          who is billed and how, as the CRM says it
    charging          the door to whoever charges, and what was done about an unpaid invoice
    core              billing mathematics (pure): terms, timeline, propose-subtract-emit, settlement
    kit               clock, events, YAML with positions, database, lock
    errors            six classes by what the loop does next, and Problem
"""

__version__ = "0.1.0"
