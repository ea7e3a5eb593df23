#include "service/conversation_policy.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "service/service.h"

namespace cachalot::server {
namespace {

bool is_system(const Message& m) { return m.role == Role::system || m.role == Role::developer; }

void join(Message& into, Message&& from) {
    std::move(from.content.begin(), from.content.end(), std::back_inserter(into.content));
    std::move(from.tools.begin(), from.tools.end(), std::back_inserter(into.tools));
    if (into.response_format.is_null()) into.response_format = std::move(from.response_format);
}

std::string without_noise(const std::string& text) {
    static constexpr std::string_view kNoise = "x-anthropic-billing-header:";
    std::string kept;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
        if (text.compare(at, kNoise.size(), kNoise) != 0) kept.append(text, at, end - at);
        at = end;
    }
    return kept;
}

// Instructions of V4: one system message at the start, and user text later.
void gather_instructions(Conversation& conversation) {
    auto& messages = conversation.messages;
    auto first = std::find_if_not(messages.begin(), messages.end(), is_system);
    if (first != messages.begin()) {
        messages.front().role = Role::system;
        for (auto m = messages.begin() + 1; m != first; ++m) join(messages.front(), std::move(*m));
        messages.erase(messages.begin() + 1, first);
    }
    // The tools of a later message move to the conversation, whose tools stand in the first instructions.
    for (std::size_t i = 1; i < messages.size(); ++i) {
        auto& m = messages[i];
        if (!is_system(m)) continue;
        m.role = Role::user;
        std::move(m.tools.begin(), m.tools.end(), std::back_inserter(conversation.tools));
        if (conversation.response_format.is_null())
            conversation.response_format = std::move(m.response_format);
        m.tools.clear();
        m.response_format = nullptr;
    }
}

}  // namespace

void remove_client_noise(Conversation& conversation) {
    std::erase_if(conversation.messages, [](Message& m) {
        if (!is_system(m)) return false;
        const bool had_content = !m.content.empty();
        std::erase_if(m.content, [](ContentPart& part) {
            if (part.type != "text") return false;
            const bool had_text = !part.text.empty();
            part.text = without_noise(part.text);
            return had_text && part.text.empty();
        });
        return had_content && m.content.empty() && m.tools.empty() && m.response_format.is_null();
    });
}

void apply_policy(Conversation& conversation, ChatFormat format) {
    auto& messages = conversation.messages;
    if (messages.empty())
        throw ApiError(400, "invalid_request", "messages: at least one message is needed", "messages");
    const bool v41 = format == ChatFormat::v41;
    if (!v41) gather_instructions(conversation);

    // No answer follows V4.1's first system message, while one follows any later one.
    const auto unasked = [&](std::size_t i) {
        return v41 ? i == 0 && messages[i].role == Role::system : is_system(messages[i]);
    };
    const std::size_t last_index = messages.size() - 1;
    auto& last = messages.back();
    if (last.role == Role::assistant) {
        if (!last.tool_calls.empty())
            throw ApiError(400, "invalid_request",
                           "messages: the conversation ends with calls of tools whose results are missing",
                           "messages");
        last.without_eos = true;
    } else if (unasked(last_index) ||
               (last.role == Role::latest_reminder && (last_index == 0 || unasked(last_index - 1)))) {
        messages.push_back(text_message(Role::user, ""));
    }
}

}  // namespace cachalot::server
