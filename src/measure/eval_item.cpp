#include "measure/eval_item.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/hash.h"

namespace cachalot {
namespace {

std::uint64_t mixed(std::uint64_t seed, std::string_view family, std::int64_t number) {
    const auto text = fmt::format("{} {} {}", seed, family, number);
    std::uint64_t result = 0;
    for (const std::byte b : hash128(std::as_bytes(std::span(text))))
        result = result * 257 + std::uint64_t(b);
    return result;
}

bool is_letter(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

const std::vector<std::string> kEvalNames = {"Anna",  "Tom",   "Clara",  "David", "Mary",
                                             "Peter", "Alice", "George", "Emma",  "Henry"};
const std::vector<std::string> kEvalCities = {"Oslo",  "Lima",   "Paris",  "Rome",   "Tokyo",
                                              "Cairo", "Madrid", "Vienna", "Berlin", "Athens"};
const std::vector<std::string> kEvalPlaces = {"kitchen", "garden", "library", "cellar",
                                              "attic",   "stable", "chapel",  "market"};

EvalRandom::EvalRandom(std::uint64_t seed, std::string_view family, std::int64_t number)
    : engine_(mixed(seed, family, number)) {}

const std::vector<EvalFamily>& eval_families() {
    static const std::vector<EvalFamily> families = {
        {"arithmetic", "sums, differences and products of numbers of one to three digits", arithmetic_item},
        {"retrieval", "a code in a long text, at five depths, among three others", retrieval_item},
        {"json", "a JSON object with given values: flat, with other types, nested", json_item},
        {"tools", "the right call of one of six tools, or two calls", tools_item},
        {"consistency", "who is where in a long story, asked three times while it goes on", consistency_item},
    };
    return families;
}

std::vector<EvalItem> eval_items(const EvalFamily& family, const EvalOptions& options) {
    if (options.items < 1 || options.items > 100'000) fail("{} items: expected 1 to 100000", options.items);
    if (options.lengths.empty()) fail("no lengths of texts are given");
    for (auto words : options.lengths)
        if (words < 20 || words > 10'000'000) fail("a text of {} words: expected 20 to 10000000", words);
    std::vector<EvalItem> items;
    for (std::int64_t i = 0; i < options.items; ++i) {
        EvalRandom random(options.seed, family.name, i);
        items.push_back(family.make(random, i, options));
        items.back().id = fmt::format("{}-{}", family.name, i);
    }
    return items;
}

std::vector<std::string> filler_paragraphs(EvalRandom& random, std::int64_t words) {
    static const std::vector<std::string> who = {
        "The old man",     "A quiet woman", "The captain", "His sister",  "The doctor",
        "A young servant", "The farmer",    "Her brother", "The teacher", "A stranger"};
    static const std::vector<std::string> what = {"walked along",     "looked at",       "remembered",
                                                  "waited near",      "came back to",    "spoke about",
                                                  "had always liked", "could not forget"};
    static const std::vector<std::string> where = {
        "the river",    "the long road",        "the little bridge", "the grey hills",
        "the open sea", "the edge of the wood", "the empty house",   "the fields below"};
    static const std::vector<std::string> how = {
        "in the morning",         "without a word",     "for a long time", "as the light was going",
        "while the others slept", "with a heavy heart", "once more",       "until the rain came"};
    constexpr std::int64_t kParagraph = 60;
    std::vector<std::string> paragraphs;
    for (std::int64_t left = words; left > 0;) {
        std::string text;
        std::int64_t count = 0;
        while (count < std::min(kParagraph, left)) {
            std::string sentence;  // one after the other: arguments have no order
            for (const auto* part : {&who, &what, &where, &how})
                sentence += (sentence.empty() ? "" : " ") + random.pick(*part);
            sentence += '.';
            count += 1 + std::count(sentence.begin(), sentence.end(), ' ');
            text += (text.empty() ? "" : " ") + sentence;
        }
        left -= count;
        paragraphs.push_back(std::move(text));
    }
    return paragraphs;
}

std::vector<std::string> numbers_in(std::string_view text) {
    std::vector<std::string> numbers;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (!is_digit(text[i])) continue;
        std::string number;
        for (; i < text.size(); ++i) {
            const bool separator = text[i] == ',' && text.size() - i > 3 && is_digit(text[i + 1]) &&
                                   is_digit(text[i + 2]) && is_digit(text[i + 3]) &&
                                   (text.size() - i == 4 || !is_digit(text[i + 4]));
            if (is_digit(text[i]))
                number += text[i];
            else if (!separator)
                break;
        }
        numbers.push_back(std::move(number));
    }
    return numbers;
}

bool has_word(std::string_view text, std::string_view word) {
    auto same = [](char a, char b) {
        return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
    };
    for (auto at = text.begin();; ++at) {
        at = std::search(at, text.end(), word.begin(), word.end(), same);
        if (at == text.end()) return false;
        const auto end = at + static_cast<std::ptrdiff_t>(word.size());
        if ((at == text.begin() || !is_letter(at[-1])) && (end == text.end() || !is_letter(*end)))
            return true;
    }
}

}  // namespace cachalot
