#include "server/api/custom_input.h"

#include <algorithm>

#include "base/error.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

// Where the text begins in arguments that begin with {"input": "; npos if they do not, or not yet: then
// `open` says whether they still may.
std::size_t find_text(std::string_view arguments, bool& open) {
    std::size_t at = 0;
    for (const std::string_view piece : {"{", "\"input\"", ":", "\""}) {
        at = std::min(arguments.find_first_not_of(kSpace, at), arguments.size());
        const auto rest = arguments.substr(at, piece.size());
        open = piece.starts_with(rest);
        if (rest != piece) return std::string_view::npos;
        at += piece.size();
    }
    return at;
}

// The length of a character of a JSON string's inside as it is written: of UTF-8, or of an escape. The two
// halves of a surrogate pair belong together. May be more than there is, if more has to come.
std::size_t character_length(std::string_view rest) {
    const auto first = static_cast<unsigned char>(rest[0]);
    if (first >= 0xC0) return first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first != '\\') return 1;
    if (rest.substr(0, 2) != "\\u") return 2;
    const bool high = rest.size() >= 4 && (rest[2] | 0x20) == 'd' &&
                      std::string_view("89abAB").find(rest[3]) != std::string_view::npos;
    return high && (rest.size() < 8 || rest.substr(6, 2) == "\\u") ? 12 : 6;
}

// The length of the beginning of a JSON string's inside that holds no half character; up to the closing
// quote.
std::size_t whole_characters(std::string_view inside, bool& closed) {
    std::size_t at = 0;
    while (at < inside.size()) {
        closed = inside[at] == '"';
        const auto length = character_length(inside.substr(at));
        if (closed || at + length > inside.size()) break;
        at += length;
    }
    return at;
}

std::string unescaped(std::string_view inside) {
    try {
        return parse_json("\"" + std::string(inside) + "\"", "input").get<std::string>();
    } catch (const Error&) {
        return std::string(inside);  // not JSON, so at least as it was written
    }
}

// What arguments of another kind mean: the input wherever it stands, else the only string, else all of it.
std::string best_text(const std::string& arguments) {
    const auto members = parse_tool_arguments(arguments);
    if (!members) return arguments;
    for (const auto& member : *members)
        if (member.name == "input") return member.value;
    if (members->size() == 1) return members->front().value;
    return members->empty() ? std::string() : arguments;
}

}  // namespace

std::string CustomInput::feed(std::string_view arguments) {
    arguments_ += arguments;
    if (state_ == State::before) {
        bool open = false;
        const auto begin = find_text(arguments_, open);
        if (begin != std::string::npos) {
            state_ = State::inside;
            at_ = begin;
        } else if (!open) {
            state_ = State::other;
        }
    }
    return state_ == State::inside ? decode_more() : std::string();
}

std::string CustomInput::decode_more() {
    bool closed = false;
    const auto rest = std::string_view(arguments_).substr(at_);
    const auto length = whole_characters(rest, closed);
    auto text = unescaped(rest.substr(0, length));
    at_ += length;
    if (closed) state_ = State::after;
    text_ += text;
    return text;
}

std::string CustomInput::finish() {
    if (state_ != State::before && state_ != State::other) return {};
    state_ = State::after;
    return text_ = best_text(arguments_);
}

}  // namespace cachalot::server
