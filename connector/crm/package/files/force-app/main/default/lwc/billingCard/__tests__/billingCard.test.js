import { createElement } from 'lwc';
import { getRecord, notifyRecordUpdateAvailable } from 'lightning/uiRecordApi';
import { getRelatedListRecords } from 'lightning/uiRelatedListApi';
import BillingCard from 'c/billingCard';

const OPPORTUNITY = '0065g000000002BAAQ';

function record(values, objectApiName = 'Opportunity') {
    const fields = {};
    for (const [name, value] of Object.entries(values)) {
        fields[name] = { value, displayValue: null };
    }
    return { apiName: objectApiName, id: OPPORTUNITY, fields };
}

function account(values) {
    return { apiName: 'Account', fields: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { value }])) };
}

const ACTIVE = {
    Billing_Status__c: 'Active',
    Billing_Message__c: 'Billing since 1 Apr 2026. INV-0007, 1,080.00 EUR, is open, due 1 May. Next invoice 1 May.',
    Billing_Contract_Id__c: 'ct_1',
    Billing_Synced_At__c: '2026-04-02T08:00:00.000Z',
    Next_Invoice_Date__c: '2026-05-01',
    Next_Invoice_Amount__c: 1080,
    Last_Invoice_Number__c: 'INV-0007',
    Last_Invoice_Status__c: 'Open',
    Last_Invoice_URL__c: 'https://billing.example/i/abc',
    Amount_Billed__c: 2160,
    Amount_Paid__c: 1080,
    Amount_Due__c: 1080,
    Contract_Value__c: 12960,
    Contract_Starts_On__c: '2026-04-01',
    Contract_Ends_On__c: null,
    CurrencyIsoCode: 'EUR'
};

function invoice(id, values) {
    const row = record({ Number__c: 'INV-0007', Status__c: 'Open', Type__c: 'Invoice', Issued_On__c: '2026-04-01', Due_On__c: '2026-05-01',
        Total__c: 1080, Amount_Due__c: 1080, Currency__c: 'EUR', URL__c: 'https://billing.example/i/abc', ...values }, 'Billing_Invoice__c');
    return { ...row, id };
}

function card(objectApiName = 'Opportunity') {
    const element = createElement('c-billing-card', { is: BillingCard });
    element.recordId = OPPORTUNITY;
    element.objectApiName = objectApiName;
    document.body.appendChild(element);
    return element;
}

function all(element, id) {
    return [...element.shadowRoot.querySelectorAll(`[data-id="${id}"]`)];
}

function one(element, id) {
    return all(element, id)[0];
}

describe('c-billing-card', () => {
    afterEach(() => {
        while (document.body.firstChild) {
            document.body.removeChild(document.body.firstChild);
        }
        jest.clearAllMocks();
    });

    it('shows a spinner until the record is there', async () => {
        const element = card();
        await Promise.resolve();
        expect(element.shadowRoot.querySelector('lightning-spinner').alternativeText).toBe('c.Billing_Card_Loading');
    });

    it('asks for every field as optional, of the object it stands on', async () => {
        card('Quote');
        await Promise.resolve();
        const asked = getRecord.getLastConfig();
        expect(asked.recordId).toBe(OPPORTUNITY);
        expect(asked.fields).toBeUndefined();
        expect(asked.optionalFields).toContain('Quote.Billing_Status__c');
        expect(asked.optionalFields).toContain('Quote.Quote_URL__c');
    });

    it('shows status by word, colour and icon, the message, amounts in the currency of the record, and the last invoice', async () => {
        const element = card();
        getRecord.emit(record(ACTIVE));
        await Promise.resolve();
        expect(one(element, 'status').textContent).toBe('Active');
        expect(one(element, 'status').className).toContain('slds-theme_success');
        expect(one(element, 'status').querySelector('lightning-icon').iconName).toBe('utility:success');
        expect(one(element, 'message').textContent).toContain('INV-0007, 1,080.00 EUR, is open');
        const amounts = all(element, 'amount').map((node) => node.querySelector('lightning-formatted-number'));
        expect(amounts.map((node) => node.value)).toEqual([2160, 1080, 1080, 12960]);
        expect(amounts.every((node) => node.currencyCode === 'EUR')).toBe(true);
        expect(one(element, 'next').querySelector('lightning-formatted-date-time').timeZone).toBe('UTC');
        const link = one(element, 'last').querySelector('a');
        expect(link.href).toBe('https://billing.example/i/abc');
        expect(link.rel).toContain('noopener');
        expect(one(element, 'term').textContent).toContain('c.Billing_Card_Open_Ended');
    });

    it.each([
        ['Needs attention', 'slds-theme_error'],
        ['Past due', 'slds-theme_error'],
        ['Blocked', 'slds-theme_warning'],
        ['Scheduled', 'slds-theme_info']
    ])('colours %s, and still says the word', async (word, theme) => {
        const element = card();
        getRecord.emit(record({ Billing_Status__c: word }));
        await Promise.resolve();
        expect(one(element, 'status').textContent).toBe(word);
        expect(one(element, 'status').className).toContain(theme);
    });

    it('shows a word it does not know without a colour', async () => {
        const element = card();
        getRecord.emit(record({ Billing_Status__c: 'Withdrawn' }));
        await Promise.resolve();
        expect(one(element, 'status').className.trim()).toBe('slds-badge');
    });

    it('shows markup in a message as text', async () => {
        const element = card();
        getRecord.emit(record({ Billing_Status__c: 'Active', Billing_Message__c: '<b onclick="x()">hello</b>' }));
        await Promise.resolve();
        expect(one(element, 'message').textContent).toBe('<b onclick="x()">hello</b>');
        expect(one(element, 'message').querySelector('b')).toBeNull();
    });

    it('lists invoices in a table with headings, each with its own currency and link', async () => {
        const element = card();
        getRecord.emit(record(ACTIVE));
        getRelatedListRecords.emit({
            records: [
                invoice('a0B1', {}),
                invoice('a0B2', { Number__c: 'CN-0001', Status__c: 'Issued', Total__c: -50, Amount_Due__c: 0, Currency__c: 'USD', URL__c: null })
            ],
            nextPageToken: '10'
        });
        await Promise.resolve();
        const asked = getRelatedListRecords.getLastConfig();
        expect(asked.parentRecordId).toBe(OPPORTUNITY);
        expect(asked.relatedListId).toBe('Billing_Invoices__r');
        expect(all(element, 'invoice').length).toBe(2);
        const [first, second] = all(element, 'invoice');
        expect(first.querySelector('a').getAttribute('aria-label')).toBe('c.Billing_Card_Open_Link');
        expect(second.querySelector('a')).toBeNull();
        expect(second.textContent).toContain('CN-0001');
        expect(second.querySelector('lightning-formatted-number').currencyCode).toBe('USD');
        const table = one(element, 'invoices');
        expect(table.querySelector('caption').textContent).toBe('c.Billing_Card_Invoices');
        expect([...table.querySelectorAll('thead th')].every((cell) => cell.scope === 'col')).toBe(true);
        expect(one(element, 'more')).not.toBeUndefined();
    });

    it('lists the invoices of its opportunity on a quote, and its page and PDF', async () => {
        const element = card('Quote');
        getRecord.emit(record({ Billing_Status__c: 'Quoted', OpportunityId: '0065g000000009ZAAQ', Quote_Number__c: 'Q-00001',
            Quote_URL__c: 'https://billing.example/q/x', Quote_PDF_URL__c: 'https://billing.example/q/x.pdf' }, 'Quote'));
        await Promise.resolve();
        expect(getRelatedListRecords.getLastConfig().parentRecordId).toBe('0065g000000009ZAAQ');
        const links = [...one(element, 'links').querySelectorAll('a')];
        expect(links.map((link) => link.textContent)).toEqual(['c.Billing_Card_Quote (Q-00001)', 'c.Billing_Card_Quote_PDF']);
    });

    it('links to the customer portal from the account', async () => {
        const element = card('Account');
        getRecord.emit(record({ Billing_Customer_Id__c: 'cus_1', Portal_URL__c: 'https://billing.example/portal/x' }, 'Account'));
        await Promise.resolve();
        expect(one(element, 'links').querySelector('a').href).toBe('https://billing.example/portal/x');
    });

    it('links to the customer portal from an opportunity, through its account', async () => {
        const element = card();
        getRecord.emit(record({ ...ACTIVE, Account: account({ Portal_URL__c: 'https://billing.example/portal/x' }) }));
        await Promise.resolve();
        expect(one(element, 'links').querySelector('a').textContent).toBe('c.Billing_Card_Portal');
    });

    it('offers no link that is not a page', async () => {
        const element = card();
        // eslint-disable-next-line no-script-url
        getRecord.emit(record({ ...ACTIVE, Last_Invoice_URL__c: 'javascript:alert(1)' }));
        await Promise.resolve();
        expect(one(element, 'last').querySelector('a')).toBeNull();
        expect(one(element, 'last').textContent).toContain('INV-0007');
    });

    it('says so where billing has not seen the record', async () => {
        const element = card();
        getRecord.emit(record({ Billing_Status__c: null, Billing_Message__c: null }));
        await Promise.resolve();
        expect(one(element, 'unseen').textContent).toBe('c.Billing_Card_Nothing');
        expect(one(element, 'status')).toBeUndefined();
    });

    it('says so where the reader may not see the fields', async () => {
        const element = card();
        getRecord.emit(record({}));
        await Promise.resolve();
        expect(one(element, 'hidden').textContent).toBe('c.Billing_Card_No_Access');
    });

    it('says what went wrong when the record cannot be read', async () => {
        const element = card();
        getRecord.error({ message: 'You do not have access to this record.' });
        await Promise.resolve();
        expect(one(element, 'problem').getAttribute('role')).toBe('alert');
        expect(element.shadowRoot.querySelector('lightning-spinner')).toBeNull();
    });

    it('stands without its list where invoices may not be read', async () => {
        const element = card();
        getRecord.emit(record(ACTIVE));
        getRelatedListRecords.error();
        await Promise.resolve();
        expect(one(element, 'invoices')).toBeUndefined();
        expect(one(element, 'status').textContent).toBe('Active');
    });

    it('says that there are no invoices yet', async () => {
        const element = card();
        getRecord.emit(record({ Billing_Status__c: 'Scheduled' }));
        getRelatedListRecords.emit({ records: [], nextPageToken: null });
        await Promise.resolve();
        expect(one(element, 'empty').textContent).toBe('c.Billing_Card_No_Invoices');
    });

    it('reads the record anew on refresh', async () => {
        const element = card();
        getRecord.emit(record(ACTIVE));
        await Promise.resolve();
        const button = element.shadowRoot.querySelector('lightning-button-icon');
        expect(button.alternativeText).toBe('c.Billing_Card_Refresh');
        button.click();
        await Promise.resolve();
        expect(notifyRecordUpdateAvailable).toHaveBeenCalledWith([{ recordId: OPPORTUNITY }]);
    });
});
