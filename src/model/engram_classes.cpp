#include "model/engram_classes.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <unordered_map>

#include "base/error.h"
#include "text/utf8.h"

namespace cachalot {

namespace {

std::string mapped(std::string_view text, int options, utf8proc_custom_func change = nullptr) {
    utf8proc_uint8_t* result = nullptr;
    const auto size = utf8proc_map_custom(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                          static_cast<utf8proc_ssize_t>(text.size()), &result,
                                          static_cast<utf8proc_option_t>(options), change, nullptr);
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owned(result, &std::free);
    if (size == UTF8PROC_ERROR_NOMEM) throw std::bad_alloc();
    if (size < 0) fail("a token's text cannot be normalised: {}", utf8proc_errmsg(size));
    return {reinterpret_cast<const char*>(result), static_cast<std::size_t>(size)};
}

bool is_run_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// White space of Unicode, as Python's str.strip() takes it off.
bool is_space(utf8proc_int32_t c) {
    const auto category = utf8proc_category(c);
    return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f) || c == 0x85 ||
           category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

std::string_view stripped(std::string_view text) {
    const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    std::size_t begin = text.size(), end = 0;
    for (std::size_t at = 0; at < text.size();) {
        utf8proc_int32_t c = 0;
        const auto size = static_cast<std::size_t>(
            utf8proc_iterate(bytes + at, static_cast<utf8proc_ssize_t>(text.size() - at), &c));
        if (!is_space(c)) {
            begin = std::min(begin, at);
            end = at + size;
        }
        at += size;
    }
    return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

}  // namespace

std::string engram_text(std::string_view text) {
    const auto composed = mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE);
    const auto plain = mapped(composed, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_STRIPMARK);
    const auto lower =
        mapped(plain, UTF8PROC_STABLE, [](utf8proc_int32_t c, void*) { return utf8proc_tolower(c); });
    std::string spaced;
    for (const char c : lower)
        if (!is_run_space(c))
            spaced += c;
        else if (spaced.empty() || spaced.back() != ' ')
            spaced += ' ';
    return spaced == " " ? spaced : std::string(stripped(spaced));
}

std::vector<std::int32_t> engram_classes(const Tokenizer& tokenizer) {
    constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // what bytes that are no text become
    std::unordered_map<std::string, std::int32_t> known;
    std::vector<std::int32_t> classes;
    for (std::int32_t token = 0; token < tokenizer.size(); ++token) {
        std::string key = tokenizer.bytes(token);
        if (!is_valid_utf8(key) || key.find(kReplacement) != std::string::npos) {
            key = tokenizer.data().tokens[static_cast<std::size_t>(token)];
        } else if (auto normal = engram_text(key); !normal.empty()) {
            key = std::move(normal);
        }
        classes.push_back(
            known.try_emplace(std::move(key), static_cast<std::int32_t>(known.size())).first->second);
    }
    return classes;
}

}  // namespace cachalot
