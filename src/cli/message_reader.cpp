#include "cli/message_reader.h"

#include <algorithm>
#include <string_view>

namespace cachalot::cli {
namespace {

constexpr std::string_view kQuotes = R"(""")";
constexpr const char *kFirst = "> ", *kNext = ". ";

// Where a block's text begins: after """ at the start of the line or after the name of a command. npos: no
// block.
std::size_t block_begin(const std::string& line) {
    std::size_t at = 0;
    if (line.starts_with('/')) at = std::min(line.find_first_not_of(' ', line.find(' ')), line.size());
    return line.compare(at, kQuotes.size(), kQuotes) == 0 ? at + kQuotes.size() : std::string::npos;
}

}  // namespace

Typed MessageReader::read_line(const char* prompt, std::string& line) {
    const Typed typed = source_(prompt, line);
    if (line.ends_with('\r')) line.pop_back();  // of a file from Windows
    return typed;
}

Typed MessageReader::read(std::string& message) {
    message.clear();
    Typed typed = read_line(kFirst, message);
    if (typed != Typed::something) {
        message.clear();
        return typed;
    }
    if (const auto begin = block_begin(message); begin != std::string::npos)
        return read_block(message, begin);
    while (message.ends_with('\\')) {
        message.back() = '\n';
        std::string line;
        typed = read_line(kNext, line);
        if (typed == Typed::interrupted) message.clear();
        if (typed == Typed::end) message.pop_back();
        if (typed != Typed::something) break;
        message += line;
    }
    return typed == Typed::interrupted ? typed : Typed::something;
}

// `message` holds the first line, whose quotes end at `begin`.
Typed MessageReader::read_block(std::string& message, std::size_t begin) {
    const std::string before = message.substr(0, begin - kQuotes.size());
    std::string text = message.substr(begin);
    // The first line break belongs to the quotes.
    for (bool first = text.empty(); !text.ends_with(kQuotes); first = false) {
        std::string line;
        const Typed typed = read_line(kNext, line);
        if (typed == Typed::interrupted) {
            message.clear();
            return typed;
        }
        if (typed == Typed::end) {
            message = before + text;
            return Typed::something;
        }
        if (!first) text += '\n';
        text += line;
    }
    text.resize(text.size() - kQuotes.size());
    if (text.ends_with('\n')) text.pop_back();
    message = before + text;
    return Typed::something;
}

}  // namespace cachalot::cli
