// A long story in which four people go from place to place. It is told in two parts, and three questions are
// asked: where somebody is after the first part; where somebody else is after the second; and where the first
// one is now, who may have moved or not. A model that has lost the beginning, or mixes the two people up, or
// repeats its answer, is seen. The score is the share of the answers that name the right place and no other.
// Every third story is short: nothing but the moves.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "measure/eval_item.h"

namespace cachalot {

EvalItem consistency_item(EvalRandom& random, std::int64_t number, const EvalOptions& options) {
    const auto people = random.sample(kEvalNames, 4);
    const bool brief = number % 3 == 0;
    const auto length = options.lengths[static_cast<std::size_t>(number / 3) % options.lengths.size()];
    std::map<std::string, std::string> place;  // of each person

    auto move = [&](const std::string& person) {
        std::string to;
        do to = random.pick(kEvalPlaces);
        while (to == place[person]);
        place[person] = to;
        return fmt::format("{} went to the {}.", person, to);
    };
    // Moves, in this order, spread over a text.
    auto tell = [&](const std::vector<std::string>& movers) {
        auto text = filler_paragraphs(random, brief ? 0 : length / 2);
        std::vector<std::int64_t> at;
        for (std::size_t i = 0; i < movers.size(); ++i) at.push_back(random.between(0, std::ssize(text)));
        std::sort(at.begin(), at.end());
        for (std::size_t i = 0; i < movers.size(); ++i)
            text.insert(text.begin() + at[i] + std::int64_t(i), move(movers[i]));
        std::string story;
        for (const auto& paragraph : text) story += paragraph + (brief ? " " : "\n\n");
        return story;
    };
    EvalItem item;
    std::vector<std::string> expected;
    auto ask = [&](const std::string& story, const std::string& person) {
        item.turns.push_back(fmt::format("{}Where is {}?", story, person));
        expected.push_back(place[person]);
    };
    const bool moves_again = random.below(2) != 0;
    const char* task = brief ? "" : "Read the text and remember where everybody is.\n\n";
    ask(task + tell(random.sample(people, 4)), people[0]);
    std::vector<std::string> second = {people[1], people[2]};
    if (moves_again) second.push_back(people[0]);
    ask(tell(random.sample(second, second.size())), people[1]);
    ask("", people[0]);
    item.expected = fmt::format("{}, {}, {}", expected[0], expected[1], expected[2]);
    item.judge = [expected](std::span<const Completion> answers) {
        double right = 0;
        for (std::size_t i = 0; i < expected.size(); ++i) {
            bool good = true;
            for (const auto& p : kEvalPlaces) good &= has_word(answers[i].content, p) == (p == expected[i]);
            right += good;
        }
        return right / static_cast<double>(expected.size());
    };
    return item;
}

}  // namespace cachalot
