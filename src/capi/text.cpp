#include "capi/conversation.h"
#include "capi/engine.h"
#include "capi/output.h"
#include "service/prepared_prompt.h"
#include "text/chat_json.h"

namespace cachalot::capi {
namespace {

ChatOptions chat_options(std::int32_t thinking) {
    ChatOptions chat;
    chat.thinking = thinking != CACHALOT_THINK_OFF;
    switch (thinking) {
        case CACHALOT_THINK_OFF:
        case CACHALOT_THINK_ON: break;
        case CACHALOT_THINK_HIGH: chat.effort = Effort::high; break;
        case CACHALOT_THINK_MAX: chat.effort = Effort::max; break;
        default: invalid("thinking: {} is no CACHALOT_THINK_...", thinking);
    }
    return chat;
}

Conversation parse_conversation(const char* messages, const char* tools, ChatFormat format) {
    const auto json = parse_json(messages, "messages");
    if (json.is_object())
        for (const auto& [name, value] : json.items())
            if (name != "messages" && name != "tools")
                fail("messages: '{}' is not read, only messages and tools are; leave it out", name);
    auto conversation = conversation_from_json(json, format);
    if (!tools) return conversation;
    if (!conversation.tools.empty()) fail("messages has tools already; leave out the others");
    conversation.tools = tools_from_json(parse_json(tools, "tools"), "tools", format);
    return conversation;
}

}  // namespace

void read_conversation(const char* messages, const char* tools, std::int32_t thinking, ChatFormat format,
                       server::Request& request) {
    need(messages, "messages");
    request.chat = chat_options(thinking);
    request.chat.format = format;
    try {
        request.conversation = parse_conversation(messages, tools, format);
    } catch (const Error& e) {
        throw CapiError(CACHALOT_INVALID, e.what());
    }
}

}  // namespace cachalot::capi

using namespace cachalot::capi;

cachalot_status cachalot_tokenize(const cachalot_engine* engine, const char* text, size_t size,
                                  int32_t special, cachalot_tokens* tokens, cachalot_error* error) {
    if (tokens) *tokens = {};
    return guarded(error, [&] {
        need(engine, "engine");
        need(tokens, "tokens");
        const auto given = elements(text, size, "text");
        *tokens = tokens_out(
            engine->opened->service->tokenize({given.data(), given.size()}, flag(special, "special")));
    });
}

cachalot_status cachalot_detokenize(const cachalot_engine* engine, const int32_t* tokens, size_t count,
                                    cachalot_text* text, cachalot_error* error) {
    if (text) *text = {};
    return guarded(error, [&] {
        need(engine, "engine");
        need(text, "text");
        *text = text_out(engine->opened->service->detokenize(elements(tokens, count, "tokens")));
    });
}

cachalot_status cachalot_apply_template(const cachalot_engine* engine, const char* messages,
                                        const char* tools, int32_t thinking, cachalot_text* text,
                                        cachalot_tokens* tokens, cachalot_error* error) {
    if (text) *text = {};
    if (tokens) *tokens = {};
    return guarded(error, [&] {
        need(engine, "engine");
        cachalot::server::Request request;
        read_conversation(messages, tools, thinking, engine->opened->service->info().chat.format, request);
        cachalot::server::complete_conversation(request);
        const auto prompt = cachalot::server::encode_conversation(request);
        cachalot_tokens ids{};
        if (tokens) ids = tokens_out(engine->tokenizer().encode_parts(prompt.parts));
        try {
            if (text) *text = text_out(prompt.text());
        } catch (...) {
            std::free(ids.data);
            throw;
        }
        if (tokens) *tokens = ids;
    });
}
