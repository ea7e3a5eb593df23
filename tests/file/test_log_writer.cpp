#include "file/log_writer.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/error.h"
#include "file/text_file.h"
#include "support/tiny_release.h"

namespace cachalot {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

class LogWriters : public testing::Test {
  protected:
    std::vector<std::string> lines(const std::string& file) const {
        std::istringstream text(read_text_file(file));
        std::vector<std::string> all;
        for (std::string line; std::getline(text, line);) all.push_back(line);
        return all;
    }
    std::shared_ptr<LogWriter> writer(LogFormat format, LogLevel level = LogLevel::info,
                                      std::chrono::milliseconds pause = 1h) const {
        return std::make_shared<LogWriter>(std::vector<LogOutput>{{level, format, path}}, nullptr, pause);
    }

    test::TemporaryFolder folder;
    const std::string path = (folder.path() / "log").string();
};

// What nobody could read twice, and what would make two lines of one.
const std::string kHostile = "a\nb\r\x1b[2Jc\x7f\xc2\x9b\xff\"\\\xe2\x80\xaex";

TEST_F(LogWriters, WritesTextForPeopleAndForFiles) {
    const auto people = std::make_shared<LogWriter>(std::vector<LogOutput>{
        {LogLevel::debug, LogFormat::people, path}, {LogLevel::warn, LogFormat::text, path + ".2"}});
    const Log log(people);
    log.debug("a detail");
    log.info("serving nano at http://127.0.0.1:1");
    log.warn("a prefix could not be written to disk",
             {{"bytes", 4096}, {"error", "/kv: full"}, {"again", true}});
    EXPECT_THAT(lines(path),
                ElementsAre("cachalot: debug: a detail", "cachalot: serving nano at http://127.0.0.1:1",
                            "cachalot: a prefix could not be written to disk: /kv: full "
                            "(bytes=4096, again=true)"));
    EXPECT_THAT(
        lines(path + ".2"),
        ElementsAre(MatchesRegex("20[0-9-]+T[0-9:]+\\.[0-9]+Z warn a prefix could not be written to disk: "
                                 "/kv: full \\(bytes=4096, again=true\\)")));
}

TEST_F(LogWriters, GivesLinesToAnyoneWhoTakesThem) {
    std::vector<std::string> taken;
    LogOutput output{LogLevel::info, LogFormat::plain, ""};
    output.to = [&](const std::string& line) { taken.push_back(line); };
    {
        const Log log(std::make_shared<LogWriter>(std::vector{output}));
        log.debug("a detail");
        log.warn("not kept", {{"bytes", 4096}, {"error", "/kv:\nfull"}});
        for (int i = 0; i < 3; ++i) log.often(LogLevel::error, "again");
    }
    EXPECT_THAT(taken, ElementsAre("not kept: /kv:\\nfull (bytes=4096)", "again", "again (repeated=2)"));
}

TEST_F(LogWriters, WritesJson) {
    const Log log(writer(LogFormat::json));
    log.error("a request failed", {{"request", "req_1"}, {"seconds", 0.25}, {"error", kHostile}});
    const auto all = lines(path);
    ASSERT_EQ(all.size(), 1u);
    const auto line = nlohmann::json::parse(all[0]);
    EXPECT_THAT(line["time"].get<std::string>(), MatchesRegex("20[0-9-]+T[0-9:]+\\.[0-9]+Z"));
    EXPECT_EQ(line["level"], "error");
    EXPECT_EQ(line["message"], "a request failed");
    EXPECT_EQ(line["request"], "req_1");
    EXPECT_EQ(line["seconds"], 0.25);
    EXPECT_THAT(line["error"].get<std::string>(), HasSubstr("a\nb"));
}

TEST_F(LogWriters, ALineIsOneLineWithoutControlCharactersWhateverIsInIt) {
    for (const auto format : {LogFormat::people, LogFormat::text, LogFormat::json}) {
        std::filesystem::remove(path);
        const Log log(writer(format));
        log.warn(kHostile, {{"error", kHostile}, {"file", kHostile}, {"long", std::string(1 << 20, '\n')}});
        log.warn("%v {} %Y", {{"error", "{0} %s"}});
        const auto all = lines(path);
        ASSERT_EQ(all.size(), 2u);
        EXPECT_LT(all[0].size(), 100'000u);
        for (unsigned char c : all[0]) EXPECT_TRUE(c >= 0x20 && c != 0x7f);
        EXPECT_EQ(all[0].find("\xc2\x9b"), std::string::npos);
        EXPECT_EQ(all[0].find("\xe2\x80\xae"), std::string::npos);
        EXPECT_THAT(all[1], HasSubstr("%v {} %Y"));
    }
}

TEST_F(LogWriters, ABurstIsOneLineAndANumber) {
    {
        const Log log(writer(LogFormat::people));
        for (int i = 0; i < 1000; ++i) log.often(LogLevel::warn, "it failed", {{"error", std::to_string(i)}});
        log.often(LogLevel::error, "something else failed");
        EXPECT_EQ(lines(path).size(), 2u);
    }
    EXPECT_THAT(lines(path), ElementsAre("cachalot: it failed: 0", "cachalot: something else failed",
                                         "cachalot: it failed (repeated=999)"));
}

TEST_F(LogWriters, AfterAPauseTheNextOneTellsHowManyThereWere) {
    const Log log(writer(LogFormat::people, LogLevel::info, 50ms));
    for (int i = 0; i < 5; ++i) log.often(LogLevel::warn, "it failed");
    std::this_thread::sleep_for(60ms);
    log.often(LogLevel::warn, "it failed", {{"error", "again"}});
    const auto all = lines(path);
    EXPECT_EQ(all.front(), "cachalot: it failed");
    EXPECT_THAT(all.back(), MatchesRegex("cachalot: it failed: again \\(repeated=[1-4]\\)"));
}

TEST_F(LogWriters, AFullDiskIsToldOnceAndCounted) {
    std::vector<std::string> warnings;
    LogWriter log({{LogLevel::info, LogFormat::text, "/dev/full"}, {LogLevel::info, LogFormat::people, path}},
                  [&](const std::string& text) { warnings.push_back(text); });
    for (int i = 0; i < 3; ++i) log.write({LogLevel::info, "a line", {}, false});
    EXPECT_EQ(log.lost(), 3);
    EXPECT_THAT(warnings,
                ElementsAre(HasSubstr("/dev/full: a line of the log cannot be written: No space left")));
    EXPECT_EQ(lines(path).size(), 3u);
}

TEST_F(LogWriters, OffIsNothing) {
    const auto sink = writer(LogFormat::text, LogLevel::off);
    EXPECT_FALSE(sink->wants(LogLevel::error));
    EXPECT_FALSE(sink->wants(LogLevel::off));
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(LogWriters, ManyThreadsWriteWholeLines) {
    const Log log(writer(LogFormat::json));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (int i = 0; i < 100; ++i)
                log.info("a line", {{"thread", t}, {"text", std::string(300, 'x')}});
        });
    for (auto& thread : threads) thread.join();
    const auto all = lines(path);
    EXPECT_EQ(all.size(), 400u);
    for (const auto& line : all) EXPECT_TRUE(nlohmann::json::accept(line));
}

}  // namespace
}  // namespace cachalot
