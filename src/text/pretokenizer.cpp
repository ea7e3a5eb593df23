// Three patterns run one after the other, each inside the pieces that the one before left; both its matches
// and the gaps between them are kept. First runs of up to three digits, then runs of Han and kana, then
// everything else. The order matters: the white space before a digit or a Han character is already at the end
// of its piece when the third pattern sees it, so `\s+(?!\S)` takes all of it.
//
// Where this departs from the patterns as they are published:
//
// - `\s` is spelled out as the Unicode property White_Space, which is what the original's regex engine means
// by it.
//   PCRE2's `\s` also matches U+180E.
// - PCRE2 reads valid UTF-8 only. A run of invalid bytes becomes a piece of its own, cut off on both sides,
// so that
//   every byte survives encoding and decoding. (Other implementations cannot be given such input: their
//   callers replace invalid bytes by U+FFFD first. repair_utf8() does the same where that is wanted.)
// - The letter, mark, number, punctuation and symbol classes are those of the PCRE2 library at hand (10.42:
// Unicode
//   14). A character added to Unicode later counts as none of them, which can only move a piece's border.
//
// Linear time: every alternative of the third pattern scans a run of one kind of character and then takes at
// least all but one character of the run, so no run is scanned more than a few times.

#include "text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <memory>
#include <optional>

#include "base/error.h"
#include "text/utf8.h"

namespace cachalot {
namespace {

// clang-format off
#define SPACES R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})"
constexpr const char* kDigits = R"(\p{N}{1,3})";
constexpr const char* kHanAndKana = R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr const char* kWords =
    R"([!-/:-@\[-`{-~][A-Za-z]+)"                        // .com, _name, 's
    R"(|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"           // a word with the one space or control before it
    R"(| ?[\p{P}\p{S}]+[\r\n]*)"                         // punctuation and the line ends after it
    R"(|[)" SPACES R"(]*[\r\n]+)"                        // white space up to the last line end of the run
    R"(|[)" SPACES R"(]+(?![^)" SPACES R"(]))"           // white space but for its last character
    R"(|[)" SPACES R"(]+)";
#undef SPACES
// clang-format on

struct FreePcre2 {
    void operator()(pcre2_code* p) const { pcre2_code_free(p); }
    void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
    void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};
using Pattern = std::unique_ptr<pcre2_code, FreePcre2>;

Pattern compile(const char* pattern) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    Pattern code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED,
                               PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr));
    if (!code) fail("this PCRE2 library cannot compile the tokenizer's patterns (error {})", error);
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT the interpreter does the same
    return code;
}

struct Patterns {
    std::array<Pattern, 3> codes{compile(kDigits), compile(kHanAndKana), compile(kWords)};
    std::unique_ptr<pcre2_match_context, FreePcre2> context{pcre2_match_context_create(nullptr)};

    Patterns() {
        if (!context) throw std::bad_alloc();
        // The interpreter counts the steps by which a long run of spaces is given back; it needs no bound
        // from us.
        pcre2_set_match_limit(context.get(), UINT32_MAX);
    }
};

const Patterns& patterns() {
    static const Patterns compiled;
    return compiled;
}

class Splitter {
  public:
    explicit Splitter(const std::function<bool(std::string_view)>& visit)
        : visit_(visit), match_(pcre2_match_data_create(1, nullptr)) {
        if (!match_) throw std::bad_alloc();
    }

    // Applies the patterns from `level` on to `text`, which must be valid UTF-8. False once a visit has
    // returned that.
    bool split(std::string_view text, std::size_t level) {
        if (text.empty()) return true;
        if (level == patterns_.codes.size()) return visit_(text);
        std::size_t done = 0;
        while (const std::optional<Range> match = find(text, done, level)) {
            if (!split(text.substr(done, match->begin - done), level + 1) ||
                !split(text.substr(match->begin, match->end - match->begin), level + 1))
                return false;
            done = match->end;
        }
        return split(text.substr(done), level + 1);
    }

  private:
    struct Range {
        std::size_t begin, end;
    };

    std::optional<Range> find(std::string_view text, std::size_t start, std::size_t level) {
        if (start == text.size()) return std::nullopt;
        const int result =
            pcre2_match(patterns_.codes[level].get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                        start, PCRE2_NO_UTF_CHECK, match_.get(), patterns_.context.get());
        if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
        if (result == PCRE2_ERROR_NOMEMORY || result == PCRE2_ERROR_HEAPLIMIT) throw std::bad_alloc();
        CACHALOT_CHECK(result == 1);
        const PCRE2_SIZE* range = pcre2_get_ovector_pointer(match_.get());
        return Range{range[0], range[1]};
    }

    const Patterns& patterns_ = patterns();
    const std::function<bool(std::string_view)>& visit_;
    std::unique_ptr<pcre2_match_data, FreePcre2> match_;
};

}  // namespace

void pretokenize(std::string_view text, const std::function<bool(std::string_view)>& visit) {
    Splitter splitter(visit);
    while (true) {
        const std::size_t valid = valid_utf8_prefix(text);
        if (!splitter.split(text.substr(0, valid), 0)) return;
        text.remove_prefix(valid);
        if (text.empty()) return;
        std::size_t invalid = 0;
        for (Utf8Char c{}; invalid < text.size(); invalid += c.length) {
            c = decode_utf8(text.substr(invalid));
            if (c.valid) break;
        }
        if (!visit(text.substr(0, invalid))) return;
        text.remove_prefix(invalid);
    }
}

std::vector<std::string_view> pretokenize(std::string_view text) {
    std::vector<std::string_view> pieces;
    pretokenize(text, [&](std::string_view piece) {
        pieces.push_back(piece);
        return true;
    });
    return pieces;
}

}  // namespace cachalot
