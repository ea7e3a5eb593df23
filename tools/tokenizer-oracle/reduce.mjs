// Cuts a vocabulary down to what a set of texts needs: the bytes, the special tokens, and every merge whose two parts
// ever stand next to each other while one of the texts is encoded. Merges that are left out never had a say, so the
// texts' tokens stay the same.

const spaces = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const patterns = [
    /\p{N}{1,3}/gu,
    /[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+/gu,
    new RegExp("[!-\\/:-@\\[-`\\{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" +
               `|[${spaces}]*[\\r\\n]+|[${spaces}]+(?![^${spaces}])|[${spaces}]+`, "gu"),
];

function split(text, level = 0) {
    if (text === "") return [];
    if (level === patterns.length) return [text];
    const parts = [];
    let done = 0;
    for (const match of text.matchAll(patterns[level])) {
        parts.push(...split(text.slice(done, match.index), level + 1), ...split(match[0], level + 1));
        done = match.index + match[0].length;
    }
    parts.push(...split(text.slice(done), level + 1));
    return parts;
}

const byteCharacters = (() => {
    let substitute = 0x100;
    const printable = (b) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    return Array.from({length: 256}, (_, b) => String.fromCharCode(printable(b) ? b : substitute++));
})();

export function reduce(file, texts) {
    const merges = file.model.merges.map((m) => Array.isArray(m) ? m : m.split(" "));
    const ranks = new Map(merges.map(([a, b], rank) => [a + " " + b, rank]));
    const neededMerges = new Set();
    const specials = file.added_tokens.filter((t) => !/place.holder/.test(t.content) || texts.some((x) => x.includes(t.content)));

    const contents = specials.map((t) => t.content).sort((a, b) => b.length - a.length);
    const escape = (s) => s.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    const specialPattern = new RegExp(contents.map(escape).join("|"), "u");
    // Both with the special tokens cut out and as plain text.
    const pieces = new Set(texts.flatMap((text) => [...text.split(specialPattern), text]).flatMap((text) => split(text)));
    for (const piece of pieces) {
        const symbols = Array.from(Buffer.from(piece, "utf8"), (b) => byteCharacters[b]);
        for (;;) {
            let best = Infinity, at = -1;
            for (let i = 0; i + 1 < symbols.length; ++i) {
                const rank = ranks.get(symbols[i] + " " + symbols[i + 1]);
                if (rank === undefined) continue;
                neededMerges.add(rank);
                if (rank < best) { best = rank; at = i; }
            }
            if (at < 0) break;
            symbols.splice(at, 2, symbols[at] + symbols[at + 1]);
        }
    }

    const keptMerges = [...neededMerges].sort((a, b) => a - b).map((rank) => merges[rank]);
    const ids = new Map(Object.entries(file.model.vocab));
    for (const t of specials) ids.set(t.content, t.id);
    const kept = new Set([...byteCharacters, ...contents, ...keptMerges.flatMap(([a, b]) => [a, b, a + b])]);
    const originalIds = [...kept].map((token) => ids.get(token)).sort((a, b) => a - b);
    const dense = new Map(originalIds.map((id, i) => [id, i]));
    const inModel = [...kept].filter((token) => token in file.model.vocab);
    const vocab = Object.fromEntries(inModel.map((token) => [token, dense.get(ids.get(token))]).sort((a, b) => a[1] - b[1]));
    return {
        file: {
            ...file,
            added_tokens: specials.map((t) => ({...t, id: dense.get(t.id)})),
            model: {...file.model, vocab, merges: keptMerges.map((m) => m.join(" "))},
        },
        originalIds,
    };
}
