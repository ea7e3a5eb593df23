// One operation on two numbers: of one digit, of two, of three (products: 1 x 1, 2 x 1, 2 x 2 digits). Judged
// by the last number of the answer, so that it may repeat the question.
#include <fmt/format.h>

#include "measure/eval_item.h"

namespace cachalot {

EvalItem arithmetic_item(EvalRandom& random, std::int64_t number, const EvalOptions&) {
    struct Range {
        std::int64_t low, high;
    };
    constexpr Range kDigits[] = {{2, 9}, {10, 99}, {100, 999}};
    constexpr Range kFactors[][2] = {{{2, 9}, {2, 9}}, {{10, 99}, {2, 9}}, {{10, 99}, {10, 99}}};
    const auto level = static_cast<std::size_t>(number % 3);
    const char operation = "+*-"[number / 3 % 3];
    auto draw = [&](const Range& r) { return random.between(r.low, r.high); };
    std::int64_t a = draw(operation == '*' ? kFactors[level][0] : kDigits[level]);
    std::int64_t b = draw(operation == '*' ? kFactors[level][1] : kDigits[level]);
    if (operation == '-' && a < b) std::swap(a, b);
    EvalItem item;
    item.turns = {fmt::format("What is {} {} {}?", a, operation, b)};
    item.expected = fmt::format("{}", operation == '+' ? a + b : operation == '-' ? a - b : a * b);
    item.judge = [expected = item.expected](std::span<const Completion> answers) {
        const auto numbers = numbers_in(answers[0].content);
        return !numbers.empty() && numbers.back() == expected ? 1.0 : 0.0;
    };
    return item;
}

}  // namespace cachalot
