// Answers that have a form, by every library's own helpers: what they ask for, and whether they take what comes back.
import {createAnthropic} from '@ai-sdk/anthropic';
import {createOpenAI} from '@ai-sdk/openai';
import {createOpenAICompatible} from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import {zodOutputFormat} from '@anthropic-ai/sdk/helpers/zod';
import {generateObject, streamObject} from 'ai';
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';
import OpenAI from 'openai';
import {zodResponseFormat, zodTextFormat} from 'openai/helpers/zod';
import {z} from 'zod';

import {startServer} from '../support/server.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;

// What is bounded ends soon, however hot the sampling.
const Pair = z.object({left: z.enum(['x', 'y']), right: z.union([z.number().int().min(0).max(9), z.null()])});
const Person = z.object({
    name: z.string().min(1).max(12).describe('The name.'),
    born: z.number().int().min(1).max(3000),
    alive: z.boolean(),
    tags: z.array(z.enum(['poet', 'painter', 'größe "q"'])).max(3),
    pairs: z.array(Pair).max(2),
    kind: z.literal('person'),
});
const prompt = 'Who wrote Faust?';
const messages = [{role: 'user', content: prompt}];

describe('structured output of the nano model', {timeout: 300_000}, () => {
    let server;
    before(async () => { server = await startServer({args: ['--think', 'off']}); });
    after(() => server.stop());

    it('openai: chat completions, parsed and streamed', async () => {
        const openai = new OpenAI({baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0});
        for (let seed = 0; seed < 4; ++seed) {
            const asked = {model: 'nano', messages, temperature: 1.5, seed, response_format: zodResponseFormat(Person, 'person')};
            const answer = await openai.chat.completions.parse(asked);
            assert.equal(answer.choices[0].message.parsed.kind, 'person');
            const final = await openai.chat.completions.stream(asked).finalChatCompletion();
            assert.deepEqual(final.choices[0].message.parsed, answer.choices[0].message.parsed);
        }
        await assert.rejects(openai.chat.completions.parse({model: 'nano', messages, max_tokens: 3,
                                                            response_format: zodResponseFormat(Person, 'person')}),
                             OpenAI.LengthFinishReasonError);
    });

    it('openai: responses', async () => {
        const openai = new OpenAI({baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0});
        const asked = {model: 'nano', input: prompt, temperature: 1.5, text: {format: zodTextFormat(Person, 'person')}};
        assert.equal((await openai.responses.parse(asked)).output_parsed.kind, 'person');
        assert.equal((await openai.responses.stream(asked).finalResponse()).output_parsed.kind, 'person');
    });

    it('@anthropic-ai/sdk', async () => {
        const anthropic = new Anthropic({baseURL: server.url, apiKey: 'none', authToken: null, maxRetries: 0});
        const asked = {model: 'nano', messages, max_tokens: 500, temperature: 1,
                       output_config: {format: zodOutputFormat(Person.omit({tags: true, pairs: true}))}};
        assert.equal((await anthropic.messages.parse(asked)).parsed_output.kind, 'person');
        const final = await anthropic.messages.stream(asked).finalMessage();
        assert.equal(final.parsed_output.kind, 'person');
    });

    const models = {
        '@ai-sdk/openai-compatible': url => createOpenAICompatible({
            name: 'cachalot', baseURL: `${url}/v1`, supportsStructuredOutputs: true})('nano'),
        '@ai-sdk/openai, responses': url => createOpenAI({baseURL: `${url}/v1`, apiKey: 'none'}).responses('nano'),
        '@ai-sdk/openai, chat': url => createOpenAI({baseURL: `${url}/v1`, apiKey: 'none'}).chat('nano'),
        // Of a model that it does not know it asks for a call.
        '@ai-sdk/anthropic': url => createAnthropic({baseURL: `${url}/v1`, apiKey: 'none'})('claude-sonnet-4-5'),
    };
    for (const [name, model] of Object.entries(models))
        it(`ai with ${name}`, async () => {
            const asked = {model: model(server.url), schema: Person, prompt, temperature: 1, maxOutputTokens: 500, maxRetries: 0};
            assert.equal((await generateObject(asked)).object.kind, 'person');
            const streamed = streamObject(asked);
            let parts = 0;
            for await (const _ of streamed.partialObjectStream) ++parts;
            assert.ok(parts > 1);
            assert.equal((await streamed.object).kind, 'person');
        });
});
