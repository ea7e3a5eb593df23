// Small checks of what a model can do: questions with one right answer each, made from a seed.
//
// They are for regressions (does the smaller file, the new kernel, the longer context still do what the old
// one did?), not for comparing models of different makers: the questions are simple and of few kinds.
//
// An item depends on the seed, its family and its number only, so more items, or items of other families,
// leave it as it is. What a family asks for and how it judges is in its own file, eval_NAME.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/completion_parser.h"

namespace cachalot {

struct EvalItem {
    std::string id;                  // "json-7"
    std::vector<std::string> turns;  // what the user says, one after the other
    std::vector<nlohmann::ordered_json> tools;
    std::string expected;  // for people
    // 0 to 1, of the answers to the turns.
    std::function<double(std::span<const Completion>)> judge;
};

// Numbers that are the same everywhere: the standard lays down the engine, but not what distributions make of
// it.
class EvalRandom {
  public:
    EvalRandom(std::uint64_t seed, std::string_view family, std::int64_t number);

    std::int64_t below(std::int64_t n) {
        return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(n));
    }
    std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }
    template <class List>
    const auto& pick(const List& list) {
        return list[static_cast<std::size_t>(below(std::ssize(list)))];
    }
    // `count` different elements in random order.
    template <class T>
    std::vector<T> sample(std::vector<T> list, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i)
            std::swap(list[i], list[i + static_cast<std::size_t>(below(std::ssize(list) - std::int64_t(i)))]);
        list.resize(count);
        return list;
    }

  private:
    std::mt19937_64 engine_;
};

struct EvalOptions {
    std::uint64_t seed = 1;
    std::int64_t items = 10;                          // of each family
    std::vector<std::int64_t> lengths = {200, 1000};  // words of long texts, in turn
};

struct EvalFamily {
    std::string name, description;
    // Item `number`, its id left out.
    EvalItem (*make)(EvalRandom& random, std::int64_t number, const EvalOptions& options);
};

EvalItem arithmetic_item(EvalRandom& random, std::int64_t number, const EvalOptions& options);
EvalItem retrieval_item(EvalRandom& random, std::int64_t number, const EvalOptions& options);
EvalItem json_item(EvalRandom& random, std::int64_t number, const EvalOptions& options);
EvalItem tools_item(EvalRandom& random, std::int64_t number, const EvalOptions& options);
EvalItem consistency_item(EvalRandom& random, std::int64_t number, const EvalOptions& options);

const std::vector<EvalFamily>& eval_families();

// Throws Error for options out of range.
std::vector<EvalItem> eval_items(const EvalFamily& family, const EvalOptions& options);

// --- For the families.

extern const std::vector<std::string> kEvalNames, kEvalCities, kEvalPlaces;

// Paragraphs of about so many words that say nothing of interest, and never a number.
std::vector<std::string> filler_paragraphs(EvalRandom& random, std::int64_t words);

// The numbers in a text, as digits; those of "1,234" are one.
std::vector<std::string> numbers_in(std::string_view text);

// Whether the word stands in the text by itself, whatever its case.
bool has_word(std::string_view text, std::string_view word);

}  // namespace cachalot
