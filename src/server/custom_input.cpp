#include "server/custom_input.h"

#include <algorithm>

#include "base/error.h"
#include "text/chat_json.h"

namespace cachalot::server {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

// Where the text begins in arguments that begin with {"input": "; npos if they do not, or not yet: then `open` says
// whether they still may.
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

// The length of the beginning of a JSON string's inside that holds no half escape; up to the closing quote.
std::size_t whole_escapes(std::string_view inside, bool& closed) {
    std::size_t at = 0;
    closed = false;
    while (at < inside.size()) {
        if (inside[at] == '"') {
            closed = true;
            return at;
        }
        std::size_t length = 1;
        if (inside[at] == '\\') {
            length = inside.substr(at, 2) == "\\u" ? 6 : 2;
            // The two halves of a surrogate pair belong together.
            const char plane = at + 2 < inside.size() ? inside[at + 2] : ' ';
            const char row = at + 3 < inside.size() ? inside[at + 3] : ' ';
            if (length == 6 && (plane == 'd' || plane == 'D') &&
                std::string_view("89abAB").find(row) != std::string_view::npos &&
                (at + 7 >= inside.size() || inside.substr(at + 6, 2) == "\\u"))
                length = 12;
        }
        if (at + length > inside.size()) return at;
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
    const auto length = whole_escapes(rest, closed);
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
