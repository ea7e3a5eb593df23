// Properties of the completion parser: where the text is cut does not matter, arguments are always JSON, and
// what the prompt encoder writes is read back.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>

#include "text/chat_json.h"
#include "text/completion_parser.h"
#include "text/prompt.h"
#include "text/prompt_protocol.h"

namespace cachalot {
namespace {

using Kind = CompletionEvent::Kind;

// The same cases in every run, unless asked otherwise.
[[maybe_unused]] const int kSeeded = setenv("RC_PARAMS", "seed=1 max_success=1000", 0);

const std::vector<std::string> kPieces = {
    "<｜DSML｜tool_calls>",
    "</｜DSML｜tool_calls>",
    "<｜DSML｜ calls>",
    "</｜DSML｜ calls>",
    "<｜DSML｜ invoke name=\"n::f\">",
    "</｜DSML｜ invoke>",
    "<｜DSML｜ parameter name=\"d\" string=\"true\">",
    "</｜DSML｜ parameter>",
    "<｜DSML｜invoke name=\"f\">",
    "</｜DSML｜invoke>",
    "<｜DSML｜parameter name=\"a\" string=\"true\">",
    "<|DSML|parameter name=\"b\" string=\"false\">",
    "<｜DSML｜parameter name=\"c\">",
    "</｜DSML｜parameter>",
    "</|DSML|parameter>",
    "<｜DSML｜unknown>",
    "<｜DSML｜",
    "</｜",
    "<",
    "\n",
    "\n\n",
    " ",
    "         ",
    "text",
    "é😀",
    "\"\\",
    "[1, 2]",
    "true",
    "None",
    "<think>",
    "</think>",
    std::string(kEosText),
    std::string(70, ' '),
    std::string(1100, 'x'),
};

rc::Gen<std::string> join(rc::Gen<std::vector<std::string>> pieces) {
    return rc::gen::map(std::move(pieces), [](const std::vector<std::string>& parts) {
        std::string text;
        for (const std::string& part : parts) text += part;
        return text;
    });
}

// Text that looks like nothing but prose or code, with many beginnings of tags; `<｜DSML｜` by itself in values
// only, where it is text.
rc::Gen<std::string> plain_text(bool value = false) {
    return join(rc::gen::container<std::vector<std::string>>(
        rc::gen::element<std::string>("a", "B ", "<", "</", "|", "<|DSM", value ? "<｜DSML｜" : "<x", "\n",
                                      "\n\n", " ", "é😀", "\"", "\\", "\x1f", "{}", "1")));
}

rc::Gen<Message> answer() {
    return rc::gen::exec([] {
        Message message = text_message(Role::assistant, *plain_text());
        message.reasoning = *plain_text();
        const int calls = *rc::gen::inRange(0, 3);
        for (int i = 0; i < calls; i++) {
            nlohmann::ordered_json arguments = nlohmann::ordered_json::object();
            const auto names = *rc::gen::unique<std::vector<std::string>>(
                rc::gen::element<std::string>("a", "key é", "arguments", "<x>", "name='n'"));
            for (const std::string& name : names) {
                const std::string text = *plain_text(true);
                const nlohmann::ordered_json values[] = {
                    text, 1, -2.5e-7, true, nullptr, {{"k", {1, "</x>"}}}, nlohmann::ordered_json::array()};
                arguments[name] = values[*rc::gen::inRange(0, 7)];
            }
            message.tool_calls.push_back({"", "tool", python_json(arguments)});
        }
        return message;
    });
}

// What a model should have written for `message`.
std::string completion_text(const Message& message, ChatFormat format = ChatFormat::v4) {
    const std::string text =
        encode_prompt({{text_message(Role::user, ""), message}, {}, {}}, {.format = format}).text();
    return text.substr(text.find(kThinkStart) + kThinkStart.size());
}

// A completion with a few stretches removed, repeated or replaced.
rc::Gen<std::string> damaged_completion() {
    return rc::gen::exec([] {
        std::string text = completion_text(*answer());
        const int damages = *rc::gen::inRange(0, 4);
        for (int i = 0; i < damages; i++) {
            const std::size_t at = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
            const std::size_t length = *rc::gen::inRange<std::size_t>(0, 40);
            const std::string piece = *rc::gen::elementOf(kPieces);
            switch (*rc::gen::inRange(0, 3)) {
                case 0: text.erase(at, length); break;
                case 1: text.insert(at, text.substr(at, length)); break;
                default: text.insert(at, piece);
            }
        }
        return text;
    });
}

rc::Gen<std::string> any_text() {
    return rc::gen::oneOf(damaged_completion(),
                          join(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kPieces))),
                          rc::gen::string<std::string>());
}

struct Parsed {
    Completion completion;
    std::vector<CompletionEvent> events;  // deltas of one kind joined
};

Parsed parse_chunks(const std::vector<std::string_view>& chunks, bool in_reasoning,
                    ChatFormat format = ChatFormat::v4) {
    Parsed parsed;
    CompletionParser parser(in_reasoning, nullptr, format);
    const auto add = [&](const std::vector<CompletionEvent>& events) {
        for (const CompletionEvent& event : events) {
            const bool delta = event.kind != Kind::call_start && event.kind != Kind::call_end;
            std::vector<CompletionEvent>& all = parsed.events;
            if (delta && !all.empty() && all.back().kind == event.kind && all.back().call == event.call) {
                all.back().text += event.text;
            } else {
                all.push_back(event);
            }
        }
    };
    for (const std::string_view chunk : chunks) add(parser.feed(chunk));
    add(parser.finish());
    parsed.completion = parser.completion();
    return parsed;
}

void assert_equal(const Parsed& a, const Parsed& b) {
    RC_ASSERT(a.completion.reasoning == b.completion.reasoning);
    RC_ASSERT(a.completion.content == b.completion.content);
    RC_ASSERT(a.completion.repairs == b.completion.repairs);
    RC_ASSERT(a.completion.tool_calls.size() == b.completion.tool_calls.size());
    for (std::size_t i = 0; i < a.completion.tool_calls.size(); i++) {
        RC_ASSERT(a.completion.tool_calls[i].name == b.completion.tool_calls[i].name);
        RC_ASSERT(a.completion.tool_calls[i].arguments == b.completion.tool_calls[i].arguments);
        RC_ASSERT(a.completion.tool_calls[i].complete == b.completion.tool_calls[i].complete);
    }
    RC_ASSERT(a.events.size() == b.events.size());
    for (std::size_t i = 0; i < a.events.size(); i++) {
        RC_ASSERT(a.events[i].kind == b.events[i].kind);
        RC_ASSERT(a.events[i].text == b.events[i].text);
        RC_ASSERT(a.events[i].call == b.events[i].call);
    }
}

RC_GTEST_PROP(CompletionProperties, CutsDoNotMatter, ()) {
    const std::string text = *any_text();
    const bool in_reasoning = *rc::gen::arbitrary<bool>();
    const std::size_t longest = *rc::gen::element<std::size_t>(1, 2, 10, 100);
    std::vector<std::string_view> chunks;
    for (std::size_t at = 0; at < text.size();) {
        chunks.push_back(std::string_view(text).substr(at, *rc::gen::inRange<std::size_t>(1, longest + 1)));
        at += chunks.back().size();
    }
    const auto format = *rc::gen::element(ChatFormat::v4, ChatFormat::v41);
    assert_equal(parse_chunks(chunks, in_reasoning, format), parse_chunks({text}, in_reasoning, format));
}

RC_GTEST_PROP(CompletionProperties, EventsAddUpToTheResult, ()) {
    const std::string text = *any_text();
    const Parsed parsed = parse_chunks({text}, *rc::gen::arbitrary<bool>());
    Completion sum;
    for (const CompletionEvent& event : parsed.events) {
        switch (event.kind) {
            case Kind::reasoning: sum.reasoning += event.text; break;
            case Kind::content: sum.content += event.text; break;
            case Kind::call_start:
                RC_ASSERT(event.call == sum.tool_calls.size());
                sum.tool_calls.push_back({event.text, {}, true});
                break;
            case Kind::call_arguments:
                RC_ASSERT(event.call + 1 == sum.tool_calls.size());
                sum.tool_calls.back().arguments += event.text;
                break;
            case Kind::call_end: RC_ASSERT(event.call + 1 == sum.tool_calls.size());
        }
    }
    RC_ASSERT(sum.reasoning == parsed.completion.reasoning);
    RC_ASSERT(sum.content == parsed.completion.content);
    RC_ASSERT(sum.tool_calls.size() == parsed.completion.tool_calls.size());
    for (std::size_t i = 0; i < sum.tool_calls.size(); i++)
        RC_ASSERT(sum.tool_calls[i].arguments == parsed.completion.tool_calls[i].arguments);
}

RC_GTEST_PROP(CompletionProperties, ArgumentsAreAnObjectWithoutEqualKeys, ()) {
    const std::string text =
        *rc::gen::nonEmpty(join(rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kPieces))));
    for (const ParsedToolCall& call :
         parse_completion("<｜DSML｜tool_calls><｜DSML｜invoke name=\"f\">" + text, false).tool_calls) {
        RC_ASSERT(!call.name.empty());
        const auto arguments = parse_tool_arguments(call.arguments);
        RC_ASSERT(arguments.has_value());
        RC_ASSERT(arguments->size() == nlohmann::json::parse(call.arguments).size());
    }
}

RC_GTEST_PROP(CompletionProperties, WhatTheEncoderWritesIsReadBack, ()) {
    const Message message = *answer();
    const auto format = *rc::gen::element(ChatFormat::v4, ChatFormat::v41);
    const Completion parsed = parse_completion(completion_text(message, format), true, nullptr, format);
    RC_ASSERT(parsed.well_formed());
    RC_ASSERT(parsed.reasoning == message.reasoning);
    RC_ASSERT(parsed.content == content_text(message.content));
    RC_ASSERT(parsed.tool_calls.size() == message.tool_calls.size());
    for (std::size_t i = 0; i < parsed.tool_calls.size(); i++) {
        RC_ASSERT(parsed.tool_calls[i].name == message.tool_calls[i].name);
        RC_ASSERT(parsed.tool_calls[i].arguments == message.tool_calls[i].arguments);
        RC_ASSERT(parsed.tool_calls[i].complete);
    }
}

// Fed in whole characters, the parser never splits one.
RC_GTEST_PROP(CompletionProperties, PiecesAreWholeCharacters, ()) {
    const std::vector<std::string> pieces =
        *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kPieces));
    const bool in_reasoning = *rc::gen::arbitrary<bool>();
    CompletionParser parser(in_reasoning);
    const auto check = [](const std::vector<CompletionEvent>& events) {
        for (const CompletionEvent& event : events) {
            if (event.text.empty()) continue;
            const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };
            RC_ASSERT(!continues(event.text.front()));
            RC_ASSERT(nlohmann::json::accept(json_string(event.text)));
        }
    };
    for (const std::string& piece : pieces) check(parser.feed(piece));
    check(parser.finish());
}

}  // namespace
}  // namespace cachalot
