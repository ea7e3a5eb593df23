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

void apply_policy(Conversation& conversation) {
    auto& messages = conversation.messages;
    if (messages.empty())
        throw ApiError(400, "invalid_request", "messages: at least one message is needed", "messages");

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

    auto& last = messages.back();
    if (last.role == Role::assistant) {
        if (!last.tool_calls.empty())
            throw ApiError(400, "invalid_request",
                           "messages: the conversation ends with calls of tools whose results are missing",
                           "messages");
        last.without_eos = true;
    } else if (last.role == Role::system ||
               (last.role == Role::latest_reminder &&
                (messages.size() == 1 || is_system(messages[messages.size() - 2])))) {
        messages.push_back(text_message(Role::user, ""));
    }
}

}  // namespace cachalot::server
