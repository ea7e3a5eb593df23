#include "base/log.h"

#include <gmock/gmock.h>

#include "support/recorded_log.h"

namespace cachalot {
namespace {

using testing::ElementsAre;

TEST(Log, SaysNothingWithoutASink) {
    const Log log;
    EXPECT_FALSE(log.wants(LogLevel::error));
    log.error("nobody hears this", {{"error", "a cause"}});
}

TEST(Log, PassesOnWhatItsSinkWants) {
    const auto sink = std::make_shared<test::RecordedLog>(LogLevel::info);
    const Log log(sink);
    EXPECT_FALSE(log.wants(LogLevel::debug));
    log.debug("too little");
    log.info("one", {{"bytes", std::size_t{3}}, {"share", 0.5}, {"direct", true}});
    log.error("two", {{"error", std::string("disk")}});
    EXPECT_THAT(sink->lines(),
                ElementsAre("info: one bytes=3 share=0.5 direct=true", "error: two error=disk"));
}

TEST(Log, SurvivesASinkThatThrows) {
    struct Broken : LogSink {
        bool wants(LogLevel) const noexcept override { return true; }
        void write(const LogLine&) override { throw std::bad_alloc(); }
    };
    EXPECT_NO_THROW(Log(std::make_shared<Broken>()).error("lost"));
}

TEST(Log, KnowsItsLevelsByName) {
    for (const auto level :
         {LogLevel::trace, LogLevel::debug, LogLevel::info, LogLevel::warn, LogLevel::error, LogLevel::off})
        EXPECT_EQ(log_level(name(level)), level);
    for (const char* wrong : {"", "INFO", "warning", "info "}) EXPECT_FALSE(log_level(wrong)) << wrong;
}

TEST(Log, TellsTheCauseOfWhatever) {
    EXPECT_EQ(cause_of(std::make_exception_ptr(std::runtime_error("a cause"))), "a cause");
    EXPECT_EQ(cause_of(std::make_exception_ptr(7)), "something that is no exception of ours");
    EXPECT_EQ(cause_of(nullptr), "unknown");
    try {
        throw std::runtime_error("being handled");
    } catch (...) {
        EXPECT_EQ(cause_of(), "being handled");
    }
}

}  // namespace
}  // namespace cachalot
