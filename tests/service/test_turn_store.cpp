// Turns that called tools are found again after a restart, by whom they belong to, whatever has happened to
// the file.
#include "service/turn_store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "support/recorded_log.h"
#include "support/tiny_release.h"

namespace cachalot::server {
namespace {

namespace fs = std::filesystem;
using cachalot::test::TemporaryFolder;

RememberedTurn turn(const std::string& id, const std::string& reasoning = "because") {
    return {
        reasoning, "Let me see. ", {{id, "f", R"({"a": 1})"}, {id + "b", "g", "{}"}}, {1, 2, 300'000}, true};
}

// Whether the turn with this call is found, which then must be the one that was written.
bool knows(TurnStore& store, const std::string& tenant, const std::string& id,
           const std::string& reasoning = "because") {
    const auto found = store.find(tenant, id);
    if (!found) return false;
    const auto expected = turn(id, reasoning);
    EXPECT_EQ(found->reasoning, expected.reasoning);
    EXPECT_EQ(found->content, expected.content);
    EXPECT_EQ(found->tokens, expected.tokens);
    EXPECT_EQ(found->reasoned, expected.reasoned);
    EXPECT_EQ(found->calls.size(), 2u);
    for (std::size_t i = 0; i < found->calls.size() && i < 2; ++i) {
        EXPECT_EQ(found->calls[i].id, expected.calls[i].id);
        EXPECT_EQ(found->calls[i].name, expected.calls[i].name);
        EXPECT_EQ(found->calls[i].arguments, expected.calls[i].arguments);
    }
    return true;
}

class Turns : public testing::Test {
  protected:
    TurnStore open(const Hash128& tokenizer = {}, ToolMemory::Limits limits = {100, 1 << 20}) {
        return TurnStore(kv, tokenizer, limits, Log(log));
    }
    static void keep(TurnStore& store, const std::string& tenant, const std::string& id,
                     const std::string& reasoning = "because") {
        store.store(tenant, std::make_shared<const RememberedTurn>(turn(id, reasoning)));
    }
    TemporaryFolder folder;
    fs::path kv = folder.path() / "kv";
    std::shared_ptr<cachalot::test::RecordedLog> log = std::make_shared<cachalot::test::RecordedLog>();
};

TEST_F(Turns, SurviveTheProcessForTheirTenantAndTokenizer) {
    {
        auto store = open();
        keep(store, "a", "call_1");
        keep(store, "a\nsalt", "call_2");
        keep(store, "b", "call_3", std::string(100'000, '\xff'));
    }
    auto store = open();
    EXPECT_TRUE(knows(store, "a", "call_1"));
    EXPECT_TRUE(store.find("a", "call_1b"));
    EXPECT_TRUE(knows(store, "a\nsalt", "call_2"));
    EXPECT_TRUE(knows(store, "b", "call_3", std::string(100'000, '\xff')));
    for (const char* tenant : {"", "b", "a\nsalt", "a\n", "acall"})
        EXPECT_FALSE(store.find(tenant, "call_1"));
    EXPECT_FALSE(store.find("a", "call_2"));
    auto other = open(hash128({}));
    EXPECT_FALSE(other.find("a", "call_1"));
    EXPECT_EQ(TurnStore::stats(kv).turns, 3);
    EXPECT_GT(TurnStore::stats(kv).bytes, 100'000);
    TurnStore::remove(kv);
    EXPECT_FALSE(TurnStore::exists(kv));
    EXPECT_EQ(TurnStore::stats(kv).turns, 0);
}

TEST_F(Turns, AreTheOwnersAlone) {
    {
        auto store = open();
        keep(store, "a", "call_1");
        store.flush();
        for (const auto& entry : fs::directory_iterator(kv))
            EXPECT_EQ(fs::status(entry).permissions() & fs::perms::all, fs::perms(0600)) << entry.path();
    }
    fs::permissions(kv, fs::perms(0750));
    EXPECT_THROW(open(), Error);
}

TEST_F(Turns, ThoseNotUsedForLongestGoFirst) {
    {
        auto store = open({}, {3, 1 << 20});
        for (const char* id : {"call_1", "call_2", "call_3"}) keep(store, "a", id);
    }
    {
        auto store = open({}, {3, 1 << 20});
        EXPECT_TRUE(knows(store, "a", "call_1"));
        keep(store, "a", "call_4");
    }
    auto store = open({}, {3, 1 << 20});
    EXPECT_TRUE(knows(store, "a", "call_1"));
    EXPECT_FALSE(store.find("a", "call_2"));
    EXPECT_TRUE(knows(store, "a", "call_3"));
    EXPECT_TRUE(knows(store, "a", "call_4"));
    EXPECT_EQ(TurnStore::stats(kv).turns, 3);
}

TEST_F(Turns, KeepToTheirBytes) {
    auto store = open({}, {1000, 50'000});
    for (int i = 0; i < 60; ++i) keep(store, "a", "call_" + std::to_string(i), std::string(3000, 'x'));
    keep(store, "a", "large", std::string(60'000, 'x'));
    store.flush();
    const auto stats = TurnStore::stats(kv);
    EXPECT_GT(stats.turns, 10);
    EXPECT_LE(stats.bytes, 50'000);
}

// Bytes that somebody has written in place of a turn, with the hash that belongs to them.
TEST_F(Turns, WhatIsNoTurnIsNotThere) {
    using nlohmann::json;
    const json right = {{"reasoning", ""},
                        {"content", "x"},
                        {"calls", {{"call_1", "f", "{}"}}},
                        {"tokens", {1, 2}},
                        {"reasoned", true}};
    auto with = [&](const char* key, const json& value) {
        json turn = right;
        turn[key] = value;
        return json::to_cbor(turn);
    };
    struct Case {
        std::vector<std::uint8_t> payload;
        bool found;
    };
    const Case cases[] = {{json::to_cbor(right), true},
                          {with("tokens", {-1}), false},
                          {with("tokens", {1.5}), false},
                          {with("tokens", {std::int64_t{1} << 31}), false},
                          {with("tokens", json::object()), true},  // none
                          {with("tokens", {{1}}), false},
                          {with("calls", {{"call_2", "f", "{}"}}), false},
                          {with("calls", {{"call_1", "f"}}), false},
                          {with("calls", 7), false},
                          {with("content", nullptr), false},
                          {{}, false},
                          {std::vector<std::uint8_t>(1'000'000, 0x81), false}};  // an array in an array in ..
    {
        auto store = open();
        keep(store, "a", "call_1");
    }
    for (const auto& c : cases) {
        {
            Sqlite database((kv / "turns.db").string(), Sqlite::Open::write);
            Statement select(database, "SELECT space FROM calls WHERE call = ?");
            ASSERT_TRUE(select.start(std::as_bytes(std::span(std::string_view("call_1")))).step());
            Hasher128 hasher;
            hasher.add(select.bytes(0));
            hasher.add(std::as_bytes(std::span(c.payload)));
            select.reset();
            const auto hash = hasher.hash();
            Statement(database, "UPDATE turns SET payload = ?, hash = ?")
                .start(std::as_bytes(std::span(c.payload)), std::span<const std::byte>(hash))
                .run();
        }
        auto store = open();
        EXPECT_EQ(store.find("a", "call_1") != nullptr, c.found) << c.payload.size();
    }
}

TEST_F(Turns, DamageIsForgottenAndNeverAnError) {
    std::mt19937 random(5);
    int kept = 0;
    for (int round = 0; round < 40; ++round) {
        {
            auto store = open();
            for (int i = 0; i < 20; ++i) keep(store, "a", fmt::format("call_{}_{}", round, i));
        }
        const auto path = kv / "turns.db";
        const auto size = fs::file_size(path);
        {
            std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
            for (int i = 0; i < 1 + round % 4; ++i) {
                file.seekp(static_cast<std::streamoff>(random() % size));
                file.put(static_cast<char>(random()));
            }
        }
        if (round % 10 == 9) fs::resize_file(path, random() % size);
        auto store = open();
        for (int i = 0; i < 20; ++i) kept += knows(store, "a", fmt::format("call_{}_{}", round, i));
        keep(store, "a", "again");
        store.flush();
    }
    EXPECT_GT(kept, 100);
    EXPECT_NE(log->text().find("a call of a tool on disk cannot be read"), std::string::npos);
    std::ofstream(kv / "turns.db") << "no database";
    auto store = open();
    EXPECT_FALSE(store.find("a", "call_0_0"));
    keep(store, "a", "call_0_0");
    store.flush();
    auto second = open();  // beside the first
    EXPECT_TRUE(knows(second, "a", "call_0_0"));
}

}  // namespace
}  // namespace cachalot::server
