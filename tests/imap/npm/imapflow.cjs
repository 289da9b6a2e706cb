// imapflow as the tests' stranger. `node imapflow.cjs visit|sync`, with its orders as one JSON object on standard
// input; it prints one JSON object a line. It is imapflow that speaks IMAP: nothing here writes a command.

'use strict';

const { readFileSync } = require('node:fs');
const { ImapFlow } = require('imapflow');

const say = (what) => process.stdout.write(JSON.stringify(what) + '\n');
const sorted = (flags) => [...flags].sort();

async function signedIn({ port, user, pass, ca }) {
    const client = new ImapFlow({
        host: '127.0.0.1', port, secure: true, qresync: true, logger: false, auth: { user, pass },
        tls: { ca: readFileSync(ca), servername: 'imap.pro.example' },
    });
    await client.connect();
    return client;
}

// Everything that a programmer's first afternoon with the library does.
async function visit(orders) {
    const client = await signedIn(orders);
    say({ enabled: sorted(client.enabled) });
    const listed = await client.list({ statusQuery: { messages: true, unseen: true } });
    say({ list: listed.map((one) => [one.path, one.specialUse || '', one.status.messages]) });
    const inbox = await client.mailboxOpen('INBOX');
    say({ exists: inbox.exists, condstore: !inbox.noModseq && inbox.highestModseq > 0n });
    const wanted = { envelope: true, bodyStructure: true, flags: true, size: true, source: true, threadId: true };
    const letters = await client.fetchAll('1:*', wanted);
    say({
        letters: letters.map((one) => ({
            subject: one.envelope.subject, parts: (one.bodyStructure.childNodes || []).map((part) => part.type),
            size: one.size, source: one.source.toString('base64'), named: Boolean(one.emailId && one.threadId),
        })),
    });
    const { content } = await client.download('2', '3', { uid: true });
    const chunks = [];
    for await (const chunk of content) chunks.push(chunk);
    say({ attachment: Buffer.concat(chunks).toString() });
    say({ found: await client.search({ subject: 'échographie' }, { uid: true }) });
    const appended = await client.append('Sent', Buffer.from(orders.letter, 'base64'), ['\\Seen', '$Envoye']);
    say({ appended: appended.uid });
    await client.mailboxCreate('Été');
    const moved = await client.messageMove('2', 'Été', { uid: true });
    say({ moved: [...moved.uidMap.entries()] });
    const told = new Promise((resolve) => client.once('exists', resolve));
    const idling = client.idle();
    say({ idling: true });
    const { count, prevCount } = await told;
    say({ told: [prevCount, count] });
    await client.noop();
    await idling;
    const quota = await client.getQuota('INBOX');
    say({ quota: Boolean(quota) });
    await client.logout();
}

// One turn of a client that keeps its own copy: what was done to the copy goes up, what it missed comes down by QRESYNC.
async function sync(orders) {
    const client = await signedIn(orders);
    const { state, done } = orders;
    const letters = new Map(state.letters.map(([uid, number, flags]) => [uid, { number, flags }]));
    client.on('expunge', (event) => letters.delete(event.uid));
    client.on('flags', (event) => {
        if (letters.has(event.uid)) letters.get(event.uid).flags = sorted(event.flags);
    });
    const since = state.uidValidity
        ? { changedSince: BigInt(state.modseq), uidValidity: BigInt(state.uidValidity) }
        : {};
    const inbox = await client.mailboxOpen('INBOX', since);
    // What changes while this turn runs is told again by the next one.
    const modseq = String(inbox.highestModseq);
    for (const [uid, flags] of done.flagged) await client.messageFlagsSet(String(uid), flags, { uid: true, silent: true });
    if (done.deleted.length) await client.messageDelete(done.deleted.join(','), { uid: true });
    for (const letter of done.written) await client.append('INBOX', Buffer.from(letter, 'base64'), ['\\Seen']);
    await client.noop();
    const query = { envelope: true, flags: true };
    for (const one of await client.fetchAll('1:*', query, { uid: true, changedSince: BigInt(state.modseq || 0) })) {
        letters.set(one.uid, { number: one.envelope.subject, flags: sorted(one.flags) });
    }
    await client.noop();
    say({
        resynced: Boolean(inbox.qresync), uidValidity: String(inbox.uidValidity),
        modseq, letters: [...letters].map(([uid, one]) => [uid, one.number, one.flags]),
    });
    await client.logout();
}

const orders = JSON.parse(readFileSync(0, 'utf8'));
({ visit, sync })[process.argv[2]](orders).catch((fault) => {
    process.stderr.write(`${fault.stack}\n${fault.responseText || ''}\n`);
    process.exit(1);
});
