// Makes the test strings: the same ones on every run. Each is {text}, {runs: [[piece, count], ...]} or {hex}.

import * as samples from "./samples.mjs";

const random = (() => {  // mulberry32
    let state = 20240229;
    return () => {
        state = (state + 0x6d2b79f5) | 0;
        let t = Math.imul(state ^ (state >>> 15), 1 | state);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
})();
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];
const times = (n, f) => Array.from({length: n}, (_, i) => f(i));
const chars = (text) => Array.from(text);
const range = (from, to) => times(to - from + 1, (i) => String.fromCodePoint(from + i));

const whiteSpace = chars("\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000");
const looksLikeSpace = chars("\u001c\u001d\u001e\u001f\u180e\u200b\u200c\u200d\u2060\ufeff\u2800\u3164");
const controls = [...range(0, 0x1f), ...range(0x7f, 0x9f)];
const asciiPunctuation = chars("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~");
const digitSets = ["0123456789", "٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹", "०१२३४५६७८९", "๐๑๒๓๔๕๖๗๘๙", "０１２３４５６７８９", "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗", "²³¹½¼¾ⅠⅡⅢⅣ", "①②③㈠㈡〇〡〢〣㊀", "一二三四五六七八九十"].map(chars);
const hanEdges = chars("\u303f\u3040\u3041\u3096\u3097\u3099\u309b\u309f\u30a0\u30a1\u30fa\u30fb\u30fc\u30ff\u3100\u3105\u4dff\u4e00\u4e01\u9fa4\u9fa5\u9fa6\u9fff\uf900\uff66\uff9f\u{20000}");

const everySample = [...samples.prose, ...samples.asian, ...samples.rightToLeftAndIndic, ...samples.marksAndEmoji, ...samples.code, ...samples.chat];
const words = everySample.flatMap((s) => s.split(/\s+/)).filter((w) => w.length > 0 && w.length < 24);

// One short thing of some kind; random strings are made of these.
const atoms = [
    () => pick(words), () => pick(words), () => " " + pick(words), () => pick(chars("abcdefghijklmnopqrstuvwxyzABCXYZ")),
    () => pick(whiteSpace), () => " ", () => " ".repeat(1 + below(6)), () => pick(["\n", "\r\n", "\r", "\n\n", " \n", "\n ", "\t\n\t"]),
    () => pick(asciiPunctuation), () => times(1 + below(5), () => pick(asciiPunctuation)).join(""),
    () => { const set = pick(digitSets); return times(1 + below(5), () => pick(set)).join(""); },
    () => pick(controls), () => pick(looksLikeSpace), () => pick(hanEdges), () => pick(chars("\u0301\u0308\u20dd\u093e\u094d\u05b0\u064b\ufe0f\u{1d165}")),
    () => pick(chars("😀🐋👨🏽\u200d🇩🇪❤→€©“”…—、。！（）")), () => pick(chars("漢字日本語中文かなカナ한국어")), () => pick(chars("éßñøłжшλΩאבתعربनमสด")),
];

function slices(text, count) {
    const all = chars(text);
    return times(count, () => {
        const from = below(all.length);
        return all.slice(from, from + 1 + below(48)).join("");
    });
}

export function makeStrings() {
    const texts = [];
    const add = (...more) => texts.push(...more);

    add("", ...everySample, ...everySample.flatMap((s) => slices(s, 5)));
    for (const set of digitSets) for (const n of [1, 2, 3, 4, 5, 6, 7, 10, 13]) {
        const digits = times(n, () => pick(set)).join("");
        add(digits, pick([`a${digits}b`, `  ${digits}`, `x ${digits}.${digits}`, `漢${digits}字`, `\n ${digits}\n`, `-${digits}%`]));
    }
    for (const c of [...whiteSpace, ...looksLikeSpace]) {
        add(`a${c}b`, `a${c}${c}b${c}`, `${c}1${c}${c}2`, ` ${c}x`, `${c} x`, `.${c}${c}.`, `漢${c}${c}字`, `a${c}\n${c}${c}b`, `${c}${c}${c}`, `x ${c}`);
    }
    for (const c of controls) add(`a${c}b ${c}c`, `${c}${c}x${c}1${c}.${c}\n`);
    for (const c of asciiPunctuation) add(`${c}word ${c}word${c}${c}word`, `a ${c}\n\nb${c}\r\n  c${c} ${c}1${c}é${c}漢`);
    for (const c of hanEdges) add(`a${c}b 1${c}${c}2 ${c}漢 ${c}.\n${c}`);
    for (const nl of ["\n", "\r", "\r\n", "\n\n", "\n\r", "\r\r\n", "\n \n", "\n\t\n  ", " \n \n "]) {
        for (const before of ["a", ".", "1", "字", " ", "...", "é)", "\u0301"]) add(`${before}${nl}${pick(["x", " x", "  x", "1", ".", "字", ""])}`);
    }
    add(...times(500, () => times(2 + below(14), () => pick(atoms)()).join("")));
    add(...times(120, () => times(1 + below(24), () => pick(words)).join(pick([" ", "  ", "\n", ", ", "", "_", " - "]))));

    const withSpecials = [...samples.chat, ...samples.specials, ...samples.almostSpecials];
    withSpecials.push(...times(120, () => times(1 + below(6), () =>
        pick([() => pick(samples.specials), () => pick(samples.almostSpecials), () => pick(atoms)()])()).join("")));
    add(...withSpecials);

    const cases = [...new Set(texts)].map((text) => ({text}));

    for (const [piece, count] of [[" ", 3000], ["\n", 3000], ["\t", 700], ["\r\n", 500], ["a", 3000], ["A", 500], ["ab", 800], ["漢", 500], ["あ", 400], ["한", 200], ["1", 1000], ["é", 400], ["=", 2000], ["-", 1500], ["*", 700], ["😀", 150], ["\u0301", 200], [" a", 600], ["a ", 600], [" \n", 500], ["\u0000", 300], [". ", 400], ["\u00a0", 300], ["ha", 700], ["\u3000", 300]]) {
        cases.push({runs: [[piece, count]]}, {runs: [["x", 1], [piece, count - 1], ["y", 1]]}, {runs: [[piece, 37], ["7", 1], [piece, 64], [".", 3]]});
    }

    const broken = ["80", "bf", "c0", "c1bf", "c2", "e0", "e080", "e0a0", "e4bd", "eda080", "edbfbf", "f0", "f09f", "f09f98", "f08080af", "f4908080", "f5", "f8888080", "fe", "ff", "fffe", "c0af", "e28228a1", "e282e282ac"];
    const hex = (text) => Buffer.from(text, "utf8").toString("hex");
    for (const b of broken) cases.push({hex: b}, {hex: hex("a ") + b + hex(" b") + b + b + hex("\n漢")});
    cases.push(...times(100, () => ({hex: times(1 + below(8), () => pick([() => pick(broken), () => hex(pick(atoms)()), () => times(1 + below(3), () => below(256).toString(16).padStart(2, "0")).join("")])()).join("")})));

    return {cases, withSpecials: new Set(withSpecials)};
}

// What an implementation that takes strings gets to see.
export function textOf(testCase) {
    if (testCase.text !== undefined) return testCase.text;
    if (testCase.runs !== undefined) return testCase.runs.map(([piece, count]) => piece.repeat(count)).join("");
    return new TextDecoder("utf-8", {ignoreBOM: true}).decode(Buffer.from(testCase.hex, "hex"));
}
