/*
 * The billing card: what the billing connector wrote on an opportunity, a quote or an account, on one glance.
 *
 * It reads the record through the Lightning Data Service, so field-level security holds and no Apex is needed. Every field is
 * optional: in an org without some of them the card shows what there is.
 */
import { LightningElement, api, wire } from 'lwc';
import { getRecord, getFieldValue, notifyRecordUpdateAvailable } from 'lightning/uiRecordApi';
import { getRelatedListRecords } from 'lightning/uiRelatedListApi';
import { refreshApex } from '@salesforce/apex';
import ORG_CURRENCY from '@salesforce/i18n/currency';
import title from '@salesforce/label/c.Billing_Card_Title';
import loading from '@salesforce/label/c.Billing_Card_Loading';
import nothing from '@salesforce/label/c.Billing_Card_Nothing';
import error from '@salesforce/label/c.Billing_Card_Error';
import noAccess from '@salesforce/label/c.Billing_Card_No_Access';
import status from '@salesforce/label/c.Billing_Card_Status';
import refresh from '@salesforce/label/c.Billing_Card_Refresh';
import nextInvoice from '@salesforce/label/c.Billing_Card_Next_Invoice';
import lastInvoice from '@salesforce/label/c.Billing_Card_Last_Invoice';
import billed from '@salesforce/label/c.Billing_Card_Billed';
import paid from '@salesforce/label/c.Billing_Card_Paid';
import due from '@salesforce/label/c.Billing_Card_Due';
import value from '@salesforce/label/c.Billing_Card_Value';
import contract from '@salesforce/label/c.Billing_Card_Contract';
import term from '@salesforce/label/c.Billing_Card_Term';
import openEnded from '@salesforce/label/c.Billing_Card_Open_Ended';
import quote from '@salesforce/label/c.Billing_Card_Quote';
import quotePdf from '@salesforce/label/c.Billing_Card_Quote_PDF';
import portal from '@salesforce/label/c.Billing_Card_Portal';
import invoices from '@salesforce/label/c.Billing_Card_Invoices';
import noInvoices from '@salesforce/label/c.Billing_Card_No_Invoices';
import number from '@salesforce/label/c.Billing_Card_Number';
import issued from '@salesforce/label/c.Billing_Card_Issued';
import dueOn from '@salesforce/label/c.Billing_Card_Due_On';
import total from '@salesforce/label/c.Billing_Card_Total';
import openLink from '@salesforce/label/c.Billing_Card_Open_Link';
import updated from '@salesforce/label/c.Billing_Card_Updated';
import more from '@salesforce/label/c.Billing_Card_More';

const SHOWN_INVOICES = 10;
const DEAL_FIELDS = [
    'Billing_Status__c', 'Billing_Message__c', 'Billing_Contract_Id__c', 'Billing_Synced_At__c', 'Next_Invoice_Date__c',
    'Next_Invoice_Amount__c', 'Last_Invoice_Number__c', 'Last_Invoice_Status__c', 'Last_Invoice_URL__c', 'Amount_Billed__c',
    'Amount_Paid__c', 'Amount_Due__c', 'Contract_Value__c', 'Contract_Starts_On__c', 'Contract_Ends_On__c'
];
const FIELDS = {
    Opportunity: [...DEAL_FIELDS, 'Account.Portal_URL__c', 'CurrencyIsoCode'],
    Quote: [
        ...DEAL_FIELDS, 'OpportunityId', 'Quote_Number__c', 'Quote_URL__c', 'Quote_PDF_URL__c', 'Account.Portal_URL__c', 'CurrencyIsoCode'
    ],
    Account: ['Billing_Customer_Id__c', 'Portal_URL__c', 'CurrencyIsoCode']
};
const INVOICE_FIELDS = ['Number__c', 'Status__c', 'Type__c', 'Issued_On__c', 'Due_On__c', 'Total__c', 'Amount_Due__c', 'Currency__c', 'URL__c'];

// The word says it; colour and icon only repeat it, for those who see them.
const TONES = {
    good: { names: ['Active', 'Completed', 'Accepted', 'Paid'], theme: 'slds-theme_success', icon: 'utility:success' },
    busy: { names: ['Queued', 'Scheduled', 'Trialing', 'Draft', 'Quoted', 'Open'], theme: 'slds-theme_info', icon: 'utility:clock' },
    warn: { names: ['Blocked', 'Paused', 'Outdated', 'Expired'], theme: 'slds-theme_warning', icon: 'utility:warning' },
    bad: { names: ['Needs attention', 'Past due', 'Unpaid', 'Uncollectible'], theme: 'slds-theme_error', icon: 'utility:error' },
    plain: { names: [], theme: '', icon: 'utility:info' }
};

function toneOf(word) {
    const wanted = (word || '').toLowerCase();
    return Object.values(TONES).find((tone) => tone.names.some((name) => name.toLowerCase() === wanted)) || TONES.plain;
}

function filled(text, what) {
    return text.replace('{0}', what);
}

/** An address is only offered as a link if a browser opens it as a page: never `javascript:` or the like. */
function pageOf(url) {
    return typeof url === 'string' && /^https?:\/\//i.test(url) ? url : undefined;
}

function isBlank(one) {
    return one === null || one === undefined || one === '';
}

export default class BillingCard extends LightningElement {
    @api recordId;
    @api objectApiName;

    label = {
        title, loading, nothing, noAccess, status, refresh, nextInvoice, lastInvoice, billed, paid, due, value, contract, term, openEnded,
        quote, quotePdf, portal, invoices, noInvoices, number, issued, dueOn, total
    };
    record;
    problem;
    rows;
    _invoices;

    get fields() {
        const names = FIELDS[this.objectApiName];
        return names ? names.map((name) => `${this.objectApiName}.${name}`) : undefined;
    }

    get invoiceFields() {
        return INVOICE_FIELDS.map((name) => `Billing_Invoice__c.${name}`);
    }

    /** The record whose invoices are listed: a quote's stand on its opportunity. Undefined keeps the list from being asked for. */
    get invoicesOf() {
        return this.objectApiName === 'Quote' ? this.read('OpportunityId') || undefined : this.recordId;
    }

    @wire(getRecord, { recordId: '$recordId', optionalFields: '$fields' })
    takeRecord({ data, error: failure }) {
        this.record = data || (failure ? undefined : this.record);
        this.problem = failure ? filled(error, this.reasonOf(failure)) : undefined;
    }

    @wire(getRelatedListRecords, {
        parentRecordId: '$invoicesOf', relatedListId: 'Billing_Invoices__r', fields: '$invoiceFields',
        sortBy: ['-Billing_Invoice__c.Issued_On__c'], pageSize: SHOWN_INVOICES
    })
    takeInvoices(result) {
        this._invoices = result;
        if (result.data) {
            this.rows = result.data.records.map((one) => this.rowOf(one));
            this.hasMore = Boolean(result.data.nextPageToken);
        } else if (result.error) {
            this.rows = undefined; // no access to invoices, or no such list: the rest of the card stands
        }
    }

    hasMore = false;

    reasonOf(failure) {
        const body = failure.body;
        const told = Array.isArray(body) ? body.map((one) => one.message).join(', ') : body && body.message;
        return told || failure.statusText || String(failure.status || '');
    }

    read(name) {
        return this.record ? getFieldValue(this.record, `${this.objectApiName}.${name}`) : undefined;
    }

    rowOf(one) {
        const read = (name) => (one.fields[name] ? one.fields[name].value : undefined);
        const tone = toneOf(read('Status__c'));
        return {
            id: one.id, number: read('Number__c'), status: read('Status__c'), issued: read('Issued_On__c'), due: read('Due_On__c'),
            total: read('Total__c'), open: read('Amount_Due__c'), currency: read('Currency__c') || this.currency, url: pageOf(read('URL__c')),
            linkLabel: filled(openLink, read('Number__c')), badge: `slds-badge ${tone.theme}`
        };
    }

    get isLoading() {
        return !this.record && !this.problem;
    }

    get isHidden() {
        if (!this.record) {
            return false;
        }
        return !Object.keys(this.record.fields).some((name) => name.endsWith('__c'));
    }

    get isUnseen() {
        return Boolean(this.record) && !this.isHidden && !this.hasStatus && !this.hasLinks && isBlank(this.message);
    }

    get isShown() {
        return Boolean(this.record) && !this.isHidden && !this.isUnseen;
    }

    get currency() {
        return this.read('CurrencyIsoCode') || ORG_CURRENCY;
    }

    get statusWord() {
        return this.read('Billing_Status__c');
    }

    get hasStatus() {
        return !isBlank(this.statusWord);
    }

    get statusBadge() {
        return `slds-badge ${toneOf(this.statusWord).theme}`;
    }

    get statusIcon() {
        return toneOf(this.statusWord).icon;
    }

    get message() {
        return this.read('Billing_Message__c');
    }

    get contractId() {
        return this.read('Billing_Contract_Id__c');
    }

    get nextDate() {
        return this.read('Next_Invoice_Date__c');
    }

    get nextAmount() {
        return this.read('Next_Invoice_Amount__c');
    }

    get lastNumber() {
        return this.read('Last_Invoice_Number__c');
    }

    get lastStatus() {
        return this.read('Last_Invoice_Status__c');
    }

    get lastUrl() {
        return pageOf(this.read('Last_Invoice_URL__c'));
    }

    get lastLabel() {
        return filled(openLink, this.lastNumber);
    }

    get startsOn() {
        return this.read('Contract_Starts_On__c');
    }

    get endsOn() {
        return this.read('Contract_Ends_On__c');
    }

    get amounts() {
        return [
            { label: billed, value: this.read('Amount_Billed__c') }, { label: paid, value: this.read('Amount_Paid__c') },
            { label: due, value: this.read('Amount_Due__c') }, { label: value, value: this.read('Contract_Value__c') }
        ].filter((one) => !isBlank(one.value));
    }

    get links() {
        const quoteName = this.read('Quote_Number__c');
        return [
            { label: quoteName ? `${quote} (${quoteName})` : quote, url: pageOf(this.read('Quote_URL__c')) },
            { label: quotePdf, url: pageOf(this.read('Quote_PDF_URL__c')) },
            { label: portal, url: pageOf(this.objectApiName === 'Account' ? this.read('Portal_URL__c') : this.read('Account.Portal_URL__c')) }
        ].filter((one) => one.url).map((one) => ({ ...one, tip: filled(openLink, one.label) }));
    }

    get hasLinks() {
        return this.links.length > 0;
    }

    get hasRows() {
        return Boolean(this.rows && this.rows.length);
    }

    get isEmptyList() {
        return Boolean(this.rows) && !this.rows.length && (this.hasStatus || this.objectApiName === 'Account');
    }

    get moreText() {
        return filled(more, String(SHOWN_INVOICES));
    }

    get syncedAt() {
        return this.read('Billing_Synced_At__c');
    }

    /** The label around the time, which the platform formats: "As of {0}". */
    get syncedBefore() {
        return updated.split('{0}')[0];
    }

    async handleRefresh() {
        await notifyRecordUpdateAvailable([{ recordId: this.recordId }]);
        if (this._invoices) {
            await refreshApex(this._invoices);
        }
    }
}
