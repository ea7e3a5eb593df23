// The files that `convert` writes, read by Hugging Face's own parser: header, keys, directory and offsets.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {mkdtempSync, rmSync, statSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, test} from 'node:test';

import {gguf, GGMLQuantizationType} from '@huggingface/gguf';

const folder = mkdtempSync(join(tmpdir(), 'cachalot-gguf-'));
after(() => rmSync(folder, {recursive: true}));
const run = (...args) => execFileSync(process.env.CACHALOT, args, {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']});
const release = join(folder, 'release');
run('synth', release, '--release', '--like', 'tiny', '--experts', '4');

async function convert(name, ...options) {
  const path = join(folder, name);
  run('convert', release, path, ...options);
  const file = await gguf(path, {allowLocalFile: true});
  const types = new Map(file.tensorInfos.map((t) => [t.name, t.dtype]));
  return {path, types, ...file};
}

test('metadata and directory', async () => {
  const {path, metadata, tensorInfos, tensorDataOffset} = await convert('q2.gguf', '--recipe', 'q2');
  assert.equal(metadata.version, 3);
  assert.equal(metadata['general.architecture'], 'deepseek4');
  assert.equal(metadata['deepseek4.block_count'], 4);
  assert.deepEqual(metadata['deepseek4.attention.compress_ratios'], [0, 128, 4, 128]);
  assert.equal(metadata['tokenizer.ggml.pre'], 'joyai-llm');
  assert.equal(metadata['tokenizer.ggml.tokens'].length, 1024);
  assert.equal(Number(metadata.tensor_count), tensorInfos.length);
  assert.equal(Number(tensorDataOffset) % 32, 0);
  const gate = tensorInfos.find((t) => t.name === 'blk.1.ffn_gate_exps.weight');
  assert.deepEqual(gate.shape.map(Number), [256, 256, 4]);
  // Every tensor starts where the one before it ends, and the last ends with the file.
  const bytes = {[GGMLQuantizationType.F32]: [1, 4], [GGMLQuantizationType.BF16]: [1, 2], [GGMLQuantizationType.I32]: [1, 4],
    [GGMLQuantizationType.Q8_0]: [32, 34], [GGMLQuantizationType.Q2_K]: [256, 84], [GGMLQuantizationType.IQ2_XXS]: [256, 66]};
  let offset = 0;
  for (const t of tensorInfos) {
    assert.equal(Number(t.offset), offset, t.name);
    const [elements, size] = bytes[t.dtype];
    offset += Math.ceil(t.shape.reduce((a, b) => a * Number(b), 1) / elements * size / 32) * 32;
  }
  assert.equal(Number(tensorDataOffset) + offset, statSync(path).size);
});

test('types have the numbers of ggml', async () => {
  const names = ['Q8_0', 'Q4_0', 'Q4_1', 'Q5_0', 'Q5_1', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'IQ2_XXS', 'IQ3_XXS', 'F16', 'BF16', 'F32'];
  const parts = ['ffn_gate_exps', 'ffn_up_exps', 'ffn_down_exps', 'ffn_down_shexp'];
  const tensor = (i) => `blk.${i % 4}.${parts[Math.floor(i / 4)]}.weight`;
  const each = await convert('each.gguf', ...names.flatMap((name, i) => ['--type', `${tensor(i)}=${name}`]));
  names.forEach((name, i) => assert.equal(each.types.get(tensor(i)), GGMLQuantizationType[name], name));
  const {types} = await convert('lossless.gguf', '--dense', 'f8_e4m3');
  assert.equal(types.get('blk.0.ffn_down_exps.weight'), 39);  // MXFP4
  assert.equal(types.get('blk.0.attn_kv.weight'), 0xf8e4);    // ours: docs/quantisation.md
  assert.equal(types.get('blk.0.attn_kv.scale'), GGMLQuantizationType.I8);
});
