// A needle in a haystack: four codes of four digits in a long text, one of which is asked for. It stands at
// 0, 25, 50, 75 or 100 % of the text, the others anywhere. Judged by the first number of four digits in the
// answer.
#include <fmt/format.h>

#include <algorithm>

#include "measure/eval_item.h"

namespace cachalot {
namespace {

constexpr std::int64_t kDepths = 5;

}  // namespace

EvalItem retrieval_item(EvalRandom& random, std::int64_t number, const EvalOptions& options) {
    const std::vector<std::string> things = {"red box",      "green door",  "black book",
                                             "small drawer", "secret room", "iron gate"};
    const auto depth = number % kDepths;
    const auto length = options.lengths[static_cast<std::size_t>(number / kDepths) % options.lengths.size()];
    auto text = filler_paragraphs(random, length);
    const auto named = random.sample(things, 4);
    std::vector<std::string> codes;
    while (codes.size() < named.size())
        if (auto code = fmt::format("{}", random.between(1000, 9999));
            std::find(codes.begin(), codes.end(), code) == codes.end())
            codes.push_back(code);
    auto insert = [&](std::int64_t at, std::size_t i) {
        text.insert(text.begin() + at, fmt::format("The code of the {} is {}.", named[i], codes[i]));
    };
    // The others first, so that what is asked for keeps its depth.
    for (std::size_t i = 1; i < named.size(); ++i) insert(random.between(0, std::ssize(text)), i);
    insert(std::ssize(text) * depth / (kDepths - 1), 0);

    EvalItem item;
    std::string prompt = "Read the text and remember the codes.\n\n";
    for (const auto& paragraph : text) prompt += paragraph + "\n\n";
    item.turns = {prompt + fmt::format("What is the code of the {}?", named[0])};
    item.expected = codes[0];
    item.judge = [code = codes[0]](std::span<const Completion> answers) {
        for (const auto& n : numbers_in(answers[0].content))
            if (n.size() == 4) return n == code ? 1.0 : 0.0;
        return 0.0;
    };
    return item;
}

}  // namespace cachalot
