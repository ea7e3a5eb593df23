// A JSON object with given values: three flat ones; four of different types; nested with a list. The score is
// the share of the values that are right, of those expected or those given, whichever are more; nothing for
// text that is no JSON object. A fence of backticks around it is passed over.
#include <fmt/format.h>

#include <algorithm>

#include "measure/eval_item.h"

namespace cachalot {
namespace {

using nlohmann::json;

json object_in(std::string_view text) {
    const auto begin = text.find('{'), end = text.rfind('}');
    if (begin == text.npos || end == text.npos || end < begin) return {};
    auto outside = std::string(text.substr(0, begin)) + std::string(text.substr(end + 1));
    for (std::string_view allowed : {"```json", "```"})
        for (auto at = outside.find(allowed); at != outside.npos; at = outside.find(allowed))
            outside.erase(at, allowed.size());
    if (outside.find_first_not_of(" \t\r\n") != outside.npos) return {};
    return json::parse(text.substr(begin, end - begin + 1), nullptr, false);
}

double share_right(const json& expected, std::string_view text) {
    // A deep text could overflow the stack of flatten(); what was asked for has two levels.
    if (std::count(text.begin(), text.end(), '[') + std::count(text.begin(), text.end(), '{') > 100) return 0;
    const json given = object_in(text);
    if (!given.is_object()) return 0;
    const json wanted = expected.flatten(), got = given.flatten();
    double right = 0;
    for (const auto& [path, value] : wanted.items()) right += got.contains(path) && got[path] == value;
    return right / static_cast<double>(std::max(wanted.size(), got.size()));
}

}  // namespace

EvalItem json_item(EvalRandom& random, std::int64_t number, const EvalOptions&) {
    const auto& name = random.pick(kEvalNames);
    const auto& city = random.pick(kEvalCities);
    const auto age = random.between(18, 90);
    EvalItem item;
    json expected;
    switch (number % 3) {
        case 0:
            item.turns = {fmt::format("Write a JSON object with the name {}, the age {} and the city {}.",
                                      name, age, city)};
            expected = {{"name", name}, {"age", age}, {"city", city}};
            break;
        case 1: {
            const bool member = random.below(2) != 0;
            item.turns = {
                fmt::format("Write a JSON object with the keys name, age, member and email: the name is {}, "
                            "the age is {}, member is {}, and email is null. Write nothing else.",
                            name, age, member)};
            expected = {{"name", name}, {"age", age}, {"member", member}, {"email", nullptr}};
            break;
        }
        default: {
            const auto friends = random.sample(kEvalNames, 2);
            item.turns = {
                fmt::format("Write a JSON object with the keys person and friends. "
                            "person is an object with the name {} and the city {}; "
                            "friends is the list of the names {} and {}. Write nothing else.",
                            name, city, friends[0], friends[1])};
            expected = {{"person", {{"name", name}, {"city", city}}},
                        {"friends", json::array({friends[0], friends[1]})}};
        }
    }
    item.expected = expected.dump();
    item.judge = [expected](std::span<const Completion> answers) {
        return share_right(expected, answers[0].content);
    };
    return item;
}

}  // namespace cachalot
