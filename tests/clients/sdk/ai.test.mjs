// Vercel's AI SDK, by each of the providers that speak one of the dialects.
import {createAnthropic} from '@ai-sdk/anthropic';
import {createOpenAI} from '@ai-sdk/openai';
import {createOpenAICompatible} from '@ai-sdk/openai-compatible';
import {APICallError, generateText, stepCountIs, streamText, tool} from 'ai';
import assert from 'node:assert/strict';
import {after, before, describe, it} from 'node:test';
import {z} from 'zod';

import {collect, idle} from '../support/helpers.mjs';
import {startServer} from '../support/server.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false;
const script = new URL('script.json', import.meta.url).pathname;

// The model by each provider, and what asks it to think.
const providers = {
    '@ai-sdk/openai-compatible': {
        model: (url, id) => createOpenAICompatible({name: 'cachalot', baseURL: `${url}/v1`, includeUsage: true})(id),
        think: {cachalot: {reasoningEffort: 'high'}},
        quiet: {cachalot: {reasoningEffort: 'none'}},
    },
    '@ai-sdk/openai, responses': {
        model: (url, id) => createOpenAI({baseURL: `${url}/v1`, apiKey: 'none'}).responses(id),
        think: {openai: {reasoningEffort: 'high', reasoningSummary: 'auto', forceReasoning: true, store: false}},
        quiet: {openai: {reasoningEffort: 'none', forceReasoning: true, store: false}},
    },
    '@ai-sdk/openai, chat': {
        model: (url, id) => createOpenAI({baseURL: `${url}/v1`, apiKey: 'none'}).chat(id),
        think: null,  // it does not look at reasoning_content
        quiet: {openai: {reasoningEffort: 'none', forceReasoning: true}},
    },
    '@ai-sdk/anthropic': {
        model: (url, id) => createAnthropic({baseURL: `${url}/v1`, apiKey: 'none'})(id),
        think: {anthropic: {thinking: {type: 'enabled', budgetTokens: 1024}}},
        quiet: {},
    },
};

const tools = asked => ({
    get_weather: tool({
        description: 'Weather',
        inputSchema: z.object({city: z.string(), days: z.number().int().optional(), units: z.array(z.string()).optional()}),
        execute: async input => {
            asked.push(input);
            return {sky: 'sunny'};
        },
    }),
});

for (const [name, provider] of Object.entries(providers)) {
    describe(`${name} with a scripted model`, {timeout: 60_000}, () => {
        let server, model;
        before(async () => {
            server = await startServer({scripted: script});
            model = provider.model(server.url, 'scripted');
        });
        after(() => server.stop());
        const common = {maxRetries: 0, providerOptions: provider.quiet};

        it('generates', async () => {
            const result = await generateText({...common, model, prompt: 'hello', system: 'Be kind.'});
            assert.equal(result.text, 'Hello there, friend.');
            assert.equal(result.finishReason, 'stop');
            assert.ok(result.usage.inputTokens > 0 && result.usage.outputTokens > 0);
        });

        it('streams', async () => {
            const result = streamText({...common, model, prompt: 'unicode'});
            const parts = await collect(result.textStream);
            assert.equal(parts.join(''), 'naïve – 鲸鱼 🐋 " \\ \t end');
            assert.ok(parts.length > 10);
            assert.equal(await result.finishReason, 'stop');
            assert.ok((await result.usage).outputTokens > 0);
        });

        it('calls tools and goes on, step by step', async () => {
            for (const stream of [false, true]) {
                for (const [prompt, text, inputs] of [
                    ['weather in Paris', 'It is sunny in Paris.', [{city: 'Paris', days: 2}]],
                    ['compare', 'Rome is warmer.', [{city: 'Paris'}, {city: 'Rome', units: ['C', 'F']}]]]) {
                    const asked = [];
                    const result = (stream ? streamText : generateText)({
                        ...common, model: await model, prompt, tools: tools(asked), stopWhen: stepCountIs(5)});
                    const done = await result;
                    if (stream) await done.consumeStream();
                    assert.equal(await done.text, text);
                    assert.equal((await done.steps).length, 2);
                    assert.equal((await done.steps)[0].finishReason, 'tool-calls');
                    assert.deepEqual(asked, inputs);
                }
            }
        });

        it('chooses tools', async () => {
            const ask = toolChoice => generateText({...common, model, prompt: 'weather in Paris', tools: tools([]), toolChoice});
            assert.equal((await ask('none')).toolCalls.length, 0);
            assert.equal((await ask('required')).toolCalls.length, 1);
            assert.equal((await ask({type: 'tool', toolName: 'get_weather'})).toolCalls[0].toolName, 'get_weather');
        });

        if (provider.think) it('shows reasoning, and sends it back', async () => {
            const ask = {...common, model, prompt: 'think', providerOptions: provider.think};
            const whole = await generateText(ask);
            assert.equal(whole.reasoningText, 'The user wants a thought.');
            assert.equal(whole.text, 'Thought.');
            const streamed = streamText(ask);
            const parts = await collect(streamed.fullStream);
            assert.equal(parts.filter(p => p.type === 'reasoning-delta').map(p => p.text).join(''), whole.reasoningText);
            assert.equal(await streamed.text, 'Thought.');
            const next = await generateText({
                ...common, model, providerOptions: provider.think,
                messages: [{role: 'user', content: 'think'}, ...whole.response.messages, {role: 'user', content: 'hello'}]});
            assert.equal(next.text, 'Hello there, friend.');
            const asked = [];
            const steps = await generateText({...ask, prompt: 'weather in Paris', tools: tools(asked), stopWhen: stepCountIs(5)});
            assert.equal(steps.text, 'It is sunny in Paris.');
            assert.deepEqual(steps.steps.map(s => s.reasoningText), ['I have to look.', 'Now I know.']);
        });

        it('ends at a limit', async () => {
            const result = await generateText({...common, model, prompt: 'count', maxOutputTokens: 4});
            assert.equal(result.finishReason, 'length');
        });

        it('fails with the status and the message', async () => {
            await assert.rejects(generateText({...common, model, prompt: 'x'.repeat(70_000)}), e => {
                assert.ok(APICallError.isInstance(e));
                assert.equal(e.statusCode, 400);
                assert.equal(e.isRetryable, false);
                assert.match(e.message, /prompt is too long|context/);
                return true;
            });
            const errors = [];
            const result = streamText({...common, model, prompt: 'break', onError: ({error}) => errors.push(error)});
            await result.consumeStream({onError: () => {}});
            assert.equal(errors.length, 1);
            assert.match(JSON.stringify(errors[0], Object.getOwnPropertyNames(errors[0])) + String(errors[0]), /the script says so/);
        });

        it('notices that the client has gone', async () => {
            const controller = new AbortController();
            const result = streamText({...common, model, prompt: 'slow', abortSignal: controller.signal});
            for await (const part of result.fullStream) if (part.type === 'text-delta') controller.abort();
            await idle(server);
            assert.equal((await generateText({...common, model, prompt: 'hello'})).text, 'Hello there, friend.');
        });
    });

    it(`${name} with the nano model`, {timeout: 60_000}, async () => {
        const server = await startServer();
        const model = provider.model(server.url, 'nano');
        // Without the options of reasoning models, for which the library leaves the temperature out.
        const ask = {model, prompt: 'Hello', temperature: 0, maxOutputTokens: 24};
        const whole = await generateText(ask);
        assert.ok(['stop', 'length'].includes(whole.finishReason));
        const streamed = streamText(ask);
        await streamed.consumeStream();
        assert.equal(await streamed.reasoningText, whole.reasoningText);
        assert.equal(await streamed.text, whole.text);
        assert.equal((await streamed.usage).outputTokens, whole.usage.outputTokens);
        await server.stop();
    });
}
