// Our ids against those of the reference implementation, for the strings of tests/data/tokenizer/cases.jsonl
// (tools/tokenizer-oracle makes them and explains the format).

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "text/tokenizer_test_data.h"
#include "text/utf8.h"

namespace cachalot {
namespace {

using nlohmann::json;
using Ids = std::vector<std::int32_t>;

std::string bytes_of(const json& test_case) {
    if (test_case.contains("text")) return test_case["text"];
    std::string bytes;
    if (test_case.contains("runs")) {
        for (const json& run : test_case["runs"])
            for (int i = 0; i < run[1].get<int>(); ++i) bytes += run[0].get<std::string>();
    } else {
        const std::string hex = test_case.at("hex");
        for (std::size_t i = 0; i < hex.size(); i += 2)
            bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    return bytes;
}

// [[5, 3], 7] -> {5, 5, 5, 7}
Ids unpack(const json& packed) {
    Ids ids;
    for (const json& item : packed) {
        if (item.is_array())
            ids.insert(ids.end(), item[1].get<std::size_t>(), item[0].get<std::int32_t>());
        else
            ids.push_back(item.get<std::int32_t>());
    }
    return ids;
}

// Compares every case; `original` maps our ids to those of the reference. Returns how many were compared.
template <class F>
int compare_all(const Tokenizer& tokenizer, const std::string& name, F&& original) {
    std::istringstream lines(test::tokenizer_file("cases.jsonl"));
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) {
        const json test_case = json::parse(line);
        const std::string bytes = bytes_of(test_case);
        // The reference takes text only; invalid bytes reach it as U+FFFD.
        const std::string text = repair_utf8(bytes);
        const auto check = [&](const std::string& key, SpecialTokens mode) {
            if (!test_case.contains(key)) return;
            Ids ids = tokenizer.encode(text, mode);
            EXPECT_EQ(tokenizer.decode(ids), text) << line;
            for (std::int32_t& id : ids) id = original(id);
            EXPECT_EQ(ids, unpack(test_case[key])) << line;
        };
        check(name, SpecialTokens::parse);
        check(name + "_literal", SpecialTokens::literal);
        EXPECT_EQ(tokenizer.decode(tokenizer.encode(bytes, SpecialTokens::parse)), bytes) << line;
    }
    return count;
}

TEST(TokenizerOracle, Nano) {
    EXPECT_GE(compare_all(test::nano(), "nano", [](std::int32_t id) { return id; }), 2000);
}

TEST(TokenizerOracle, DeepSeekV3) {
    const std::string text = test::tokenizer_file("deepseek_v3_reduced.json");
    const Tokenizer tokenizer = Tokenizer::from_json(text, "deepseek_v3_reduced.json");
    const Ids original_ids = json::parse(text).at("original_ids");
    ASSERT_EQ(original_ids.size(), static_cast<std::size_t>(tokenizer.size()));
    const auto original = [&](std::int32_t id) { return original_ids[static_cast<std::size_t>(id)]; };
    EXPECT_GE(compare_all(tokenizer, "v3", original), 2000);
}

}  // namespace
}  // namespace cachalot
