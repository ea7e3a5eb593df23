#include <sys/stat.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

#include "capi/library.h"
#include "file/text_file.h"

namespace cachalot::test {
namespace {

class CapiStates : public testing::Test {
  protected:
    // Nothing of the user's is touched.
    void SetUp() override { ::setenv("XDG_CACHE_HOME", (folder.path() / "cache").c_str(), 1); }
    void TearDown() override { ::unsetenv("XDG_CACHE_HOME"); }

    static Events go_on(cachalot_engine* engine, const std::vector<std::int32_t>& tokens, int most,
                        const char* space = nullptr) {
        auto options = request_options();
        options.tokens = tokens.data();
        options.token_count = tokens.size();
        options.max_tokens = most;
        options.ignore_eos = 1;
        options.space = space;
        return answer(engine, options);
    }
    static std::vector<std::int32_t> story(cachalot_engine* engine) {
        std::string text = "Once upon a time there was a whale. ";
        for (int i = 0; i < 6; ++i) text += text.substr(0, 36 + static_cast<std::size_t>(i));
        cachalot_tokens tokens{};
        EXPECT_EQ(cachalot_tokenize(engine, text.data(), text.size(), 0, &tokens, nullptr), CACHALOT_OK);
        std::vector<std::int32_t> out(tokens.data, tokens.data + tokens.size);
        cachalot_free(tokens.data);
        return out;
    }
    static std::string save(cachalot_engine* engine, const std::vector<std::int32_t>& tokens,
                            std::int64_t* length = nullptr) {
        cachalot_bytes bytes{};
        cachalot_error error{};
        EXPECT_EQ(cachalot_state_save(engine, tokens.data(), tokens.size(), nullptr, &bytes, length, &error),
                  CACHALOT_OK)
            << error.message;
        std::string out(static_cast<const char*>(bytes.data), bytes.size);
        cachalot_free(bytes.data);
        return out;
    }
    static cachalot_status load(cachalot_engine* engine, const std::string& bytes,
                                std::int64_t* length = nullptr) {
        return cachalot_state_load(engine, bytes.data(), bytes.size(), nullptr, length, nullptr);
    }

    TemporaryFolder folder;
};

TEST_F(CapiStates, AnotherEngineGoesOnFromASavedState) {
    std::string bytes;
    std::vector<std::int32_t> begun;
    Events whole;
    std::int64_t saved = 0;
    {
        const auto first = open_nano();
        const auto prompt = story(first.get());
        whole = go_on(first.get(), prompt, 40);
        const auto fresh = open_nano();
        begun = go_on(fresh.get(), prompt, 20).tokens;
        bytes = save(fresh.get(), begun, &saved);
        EXPECT_EQ(saved, static_cast<std::int64_t>(begun.size()) - 1);  // the last one was not evaluated
    }
    const auto second = open_nano();
    std::int64_t loaded = 0;
    ASSERT_EQ(load(second.get(), bytes, &loaded), CACHALOT_OK);
    EXPECT_EQ(loaded, saved);
    const auto rest = go_on(second.get(), begun, 20);
    EXPECT_EQ(rest.tokens, whole.tokens);
    EXPECT_EQ(rest.usage.cached_tokens, saved);
    EXPECT_EQ(save(second.get(), begun), bytes);
}

TEST_F(CapiStates, AFileHoldsTheSame) {
    const auto path = (folder.path() / "a.state").string();
    const auto engine = open_nano();
    const auto begun = go_on(engine.get(), story(engine.get()), 4).tokens;
    std::int64_t length = 0;
    ASSERT_EQ(cachalot_state_save_file(engine.get(), begun.data(), begun.size(), nullptr, path.c_str(),
                                       &length, nullptr),
              CACHALOT_OK);
    EXPECT_EQ(read_text_file(path), save(engine.get(), begun));
    const auto second = open_nano();
    std::int64_t loaded = 0;
    ASSERT_EQ(cachalot_state_load_file(second.get(), path.c_str(), nullptr, &loaded, nullptr), CACHALOT_OK);
    EXPECT_EQ(loaded, length);
    EXPECT_EQ(go_on(second.get(), begun, 3).usage.cached_tokens, length);
    cachalot_error error{};
    EXPECT_EQ(cachalot_state_load_file(second.get(), (path + ".missing").c_str(), nullptr, nullptr, &error),
              CACHALOT_FAILED);
    EXPECT_THAT(error.message, testing::HasSubstr(path + ".missing"));
}

// Neither is a device read without end nor a pipe waited for.
TEST_F(CapiStates, OnlyARegularFileIsRead) {
    const auto engine = open_nano();
    const auto pipe = (folder.path() / "pipe").string();
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    for (const auto& path : {pipe, std::string("/dev/zero"), std::string("/dev/null")}) {
        cachalot_error error{};
        EXPECT_EQ(cachalot_state_load_file(engine.get(), path.c_str(), nullptr, nullptr, &error),
                  CACHALOT_FAILED);
        EXPECT_THAT(error.message, testing::HasSubstr(path + ": is not a regular file"));
    }
}

// Files with holes, of more bytes than there is memory: the first bytes and the size tell what they are.
TEST_F(CapiStates, AFileIsLookedAtBeforeItIsRead) {
    const auto path = (folder.path() / "huge").string();
    const auto engine = open_nano();
    const auto begun = go_on(engine.get(), story(engine.get()), 4).tokens;
    const auto bytes = save(engine.get(), begun);
    for (const auto& [begin, why] : {std::pair{std::string(), "no attention state"},
                                     std::pair{bytes.substr(0, 100), "damaged or cut off"}}) {
        std::ofstream(path, std::ios::binary) << begin;
        std::filesystem::resize_file(path, std::uintmax_t(1) << 42);
        cachalot_error error{};
        EXPECT_EQ(cachalot_state_load_file(engine.get(), path.c_str(), nullptr, nullptr, &error),
                  CACHALOT_MISMATCH);
        EXPECT_THAT(error.message, testing::HasSubstr(why));
    }
    for (const std::size_t size : {0, 1, 31, 32, 47}) {
        std::ofstream(path, std::ios::binary) << bytes.substr(0, size);
        EXPECT_EQ(cachalot_state_load_file(engine.get(), path.c_str(), nullptr, nullptr, nullptr),
                  CACHALOT_MISMATCH)
            << size;
    }
}

TEST_F(CapiStates, OnlyWhatIsKeptCanBeSaved) {
    const auto engine = open_nano();
    const std::vector<std::int32_t> unknown = {5, 6, 7};
    cachalot_bytes bytes{};
    EXPECT_EQ(cachalot_state_save(engine.get(), unknown.data(), 3, nullptr, &bytes, nullptr, nullptr),
              CACHALOT_NOT_FOUND);
    EXPECT_EQ(bytes.data, nullptr);
    const auto begun = go_on(engine.get(), story(engine.get()), 2, "mine").tokens;
    EXPECT_EQ(
        cachalot_state_save(engine.get(), begun.data(), begun.size(), "others", &bytes, nullptr, nullptr),
        CACHALOT_NOT_FOUND);
    EXPECT_EQ(cachalot_state_save(engine.get(), begun.data(), begun.size(), "mine", &bytes, nullptr, nullptr),
              CACHALOT_OK);
    cachalot_free(bytes.data);
}

TEST_F(CapiStates, AnythingElseIsNoState) {
    const auto engine = open_nano();
    const auto begun = go_on(engine.get(), story(engine.get()), 4).tokens;
    const auto bytes = save(engine.get(), begun);
    const auto fresh = open_nano();
    for (std::size_t size : {std::size_t(0), std::size_t(7), std::size_t(31), std::size_t(47),
                             bytes.size() / 2, bytes.size() - 1})
        EXPECT_EQ(load(fresh.get(), bytes.substr(0, size)), CACHALOT_MISMATCH) << size;
    EXPECT_EQ(load(fresh.get(), bytes + '\0'), CACHALOT_MISMATCH);
    for (std::size_t at = 0; at < bytes.size(); at += at < 48 ? 1 : bytes.size() / 7) {
        auto damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
        EXPECT_EQ(load(fresh.get(), damaged), CACHALOT_MISMATCH) << at;
    }
    EXPECT_EQ(go_on(fresh.get(), begun, 2).usage.cached_tokens, 0);
}

TEST_F(CapiStates, AStateBelongsToItsPrecisions) {
    const auto engine = open_nano();
    const auto begun = go_on(engine.get(), story(engine.get()), 4).tokens;
    const auto bytes = save(engine.get(), begun);
    for (const bool exact : {false, true}) {
        auto options = engine_options();
        (exact ? options.exact : options.kv) = 1;
        const auto other = open_nano(options);
        cachalot_error error{};
        EXPECT_EQ(cachalot_state_load(other.get(), bytes.data(), bytes.size(), nullptr, nullptr, &error),
                  CACHALOT_MISMATCH);
        EXPECT_THAT(error.message, testing::HasSubstr("other precisions"));
    }
}

// The thread of the model is held up in a callback meanwhile.
TEST_F(CapiStates, BytesAreCheckedWithoutTheModelsThread) {
    const auto engine = open_nano();
    const auto begun = go_on(engine.get(), story(engine.get()), 4).tokens;
    auto damaged = save(engine.get(), begun);
    damaged[damaged.size() / 2] ^= 1;
    std::mutex mutex;
    std::condition_variable changed;
    bool held = false, refused = false, in_time = false;
    Events events;
    events.watch = [&](const cachalot_event& e) {
        if (e.kind != CACHALOT_EVENT_STARTED) return 0;
        std::unique_lock lock(mutex);
        held = true;
        changed.notify_all();
        in_time = changed.wait_for(lock, std::chrono::seconds(20), [&] { return refused; });
        return 1;
    };
    auto options = request_options();
    options.text = "Once";
    options.text_size = 4;
    const auto request = submit(engine.get(), options, events);
    {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return held; });
    }
    EXPECT_EQ(load(engine.get(), damaged), CACHALOT_MISMATCH);
    {
        std::lock_guard lock(mutex);
        refused = true;
    }
    changed.notify_all();
    EXPECT_EQ(cachalot_wait(request.get(), -1, nullptr, nullptr), CACHALOT_OK);
    EXPECT_TRUE(in_time);
}

// Several threads save and load while answers are written; all of them get what one alone gets.
TEST_F(CapiStates, StatesAreSavedAndLoadedBesideAnswers) {
    const auto engine = open_nano();
    const auto prompt = story(engine.get());
    const auto begun = go_on(engine.get(), prompt, 4).tokens;
    const auto bytes = save(engine.get(), begun);
    const auto more = go_on(engine.get(), begun, 30).tokens;
    const auto second = open_nano();
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&] {
            for (int round = 0; round < 5; ++round) {
                EXPECT_EQ(load(second.get(), bytes), CACHALOT_OK);
                EXPECT_EQ(save(second.get(), begun), bytes);
            }
        });
    for (int round = 0; round < 3; ++round) EXPECT_EQ(go_on(second.get(), begun, 30).tokens, more);
    for (auto& thread : threads) thread.join();
}

TEST_F(CapiStates, AStateMustFitIntoTheContext) {
    const auto engine = open_nano();
    const auto begun = go_on(engine.get(), story(engine.get()), 4).tokens;
    const auto bytes = save(engine.get(), begun);
    auto options = engine_options();
    options.context = 16;
    const auto narrow = open_nano(options);
    EXPECT_EQ(load(narrow.get(), bytes), CACHALOT_TOO_LONG);
}

}  // namespace
}  // namespace cachalot::test
