#include "server/http/audit.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "server/http/served_queue.h"

namespace cachalot::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class AuditOnFullDisks : public testing::Test {
  protected:
    AuditOnFullDisks() { std::signal(SIGXFSZ, SIG_IGN); }
    ~AuditOnFullDisks() override { std::filesystem::remove(path); }

    std::string content() const {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    std::vector<nlohmann::json> lines() const { return lines_of(content()); }
    static std::vector<nlohmann::json> lines_of(const std::string& text) {
        std::vector<nlohmann::json> all;
        std::istringstream in(text);
        for (std::string line; std::getline(in, line);) all.push_back(nlohmann::json::parse(line));
        EXPECT_TRUE(text.empty() || text.back() == '\n');
        return all;
    }
    static Served request(const std::string& id) {
        Served served;
        served.id = id;
        return served;
    }

    const std::string path =
        (std::filesystem::temp_directory_path() / fmt::format("cachalot-audit-test-{}", getpid())).string();
    std::vector<std::string> warnings;
    const std::function<void(const std::string&)> warn = [this](const std::string& w) {
        warnings.push_back(w);
    };
};

// Files may not grow beyond so many bytes, as if the disk were full.
class FileLimit {
  public:
    explicit FileLimit(std::uintmax_t bytes) {
        getrlimit(RLIMIT_FSIZE, &usual_);
        const rlimit limit{bytes, usual_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FileLimit() { setrlimit(RLIMIT_FSIZE, &usual_); }
    FileLimit(const FileLimit&) = delete;

  private:
    rlimit usual_{};
};

TEST_F(AuditOnFullDisks, AFullDiskStopsNothingAndIsToldOnce) {
    AuditLog log("/dev/full", false, warn);
    for (int i = 0; i < 3; ++i) log.write(request("a"));
    EXPECT_EQ(log.lost(), 3);
    EXPECT_THAT(warnings,
                ElementsAre(HasSubstr("/dev/full: a line cannot be written: No space left on device")));
    AuditLog("/dev/full", false).write(request("a"));  // nobody to be told
}

TEST_F(AuditOnFullDisks, ALineIsWrittenWholeOrNotAtAll) {
    AuditLog log(path, false, warn);
    log.write(request("first"));
    const auto size = std::filesystem::file_size(path);
    // Room for nothing, for a part of a line, for all but its end.
    for (const std::uintmax_t room : {std::uintmax_t{0}, std::uintmax_t{1}, size / 2, size - 1}) {
        const FileLimit limit(size + room);
        log.write(request("other"));
        EXPECT_EQ(std::filesystem::file_size(path), size) << room;
    }
    EXPECT_EQ(log.lost(), 4);
    log.write(request("next"));
    log.write(request("last"));
    EXPECT_EQ(warnings.size(), 1u);
    const auto all = lines();
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0]["id"], "first");
    EXPECT_EQ(all[1]["id"], "next");
    EXPECT_EQ(all[1]["lost"], 4);
    EXPECT_FALSE(all[2].contains("lost"));
    EXPECT_EQ(log.lost(), 4);
}

// What somebody else has appended meanwhile is never taken back: the torn line gets an end instead.
TEST_F(AuditOnFullDisks, GoesOnAfterATornLineOnALineOfItsOwn) {
    std::ofstream(path) << "{\"id\":\"torn";
    {
        AuditLog log(path, false);
        log.write(request("a"));
        log.write(request("b"));
    }
    AuditLog(path, false).write(request("c"));
    const std::string text = content();
    const std::size_t end = text.find('\n');
    EXPECT_EQ(text.substr(0, end), "{\"id\":\"torn");
    const auto all = lines_of(text.substr(end + 1));
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[2]["id"], "c");
    std::ofstream(path, std::ios::trunc).close();
    AuditLog(path, false).write(request("d"));
    EXPECT_NE(content().front(), '\n');
}

TEST_F(AuditOnFullDisks, APipeThatNobodyEmptiesBlocksNothing) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    AuditLog log(fmt::format("/dev/fd/{}", ends[1]), true, warn);
    Served served = request("a");
    int written = 0;
    for (; log.lost() < 5; ++written) log.write(served);
    EXPECT_EQ(warnings.size(), 1u);
    std::string text(1 << 20, '\0');
    text.resize(static_cast<std::size_t>(read(ends[0], text.data(), text.size())));
    EXPECT_EQ(lines_of(text).size(), static_cast<std::size_t>(written - 5));
    log.write(served);
    std::string more(1 << 16, '\0');
    more.resize(static_cast<std::size_t>(read(ends[0], more.data(), more.size())));
    ASSERT_EQ(lines_of(more).size(), 1u);
    EXPECT_EQ(lines_of(more).front()["lost"], 5);
    close(ends[0]);
    close(ends[1]);
}

// More than a pipe takes at once: what went out cannot be taken back, so the next line ends it.
TEST_F(AuditOnFullDisks, ALineThatAPipeTookInPartIsEnded) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    AuditLog log(fmt::format("/dev/fd/{}", ends[1]), true, warn);
    Served large = request("large");
    large.request_text = std::string(1 << 20, 'x');
    log.write(large);
    EXPECT_EQ(log.lost(), 1);
    std::string text(1 << 21, '\0');
    text.resize(static_cast<std::size_t>(read(ends[0], text.data(), text.size())));
    EXPECT_GT(text.size(), 1000u);
    EXPECT_EQ(text.find('\n'), std::string::npos);
    log.write(request("small"));
    std::string more(1 << 16, '\0');
    more.resize(static_cast<std::size_t>(read(ends[0], more.data(), more.size())));
    ASSERT_EQ(more.front(), '\n');
    EXPECT_EQ(lines_of(more.substr(1)).front()["id"], "small");
    close(ends[0]);
    close(ends[1]);
}

// A disk that is slow.
TEST(ServedQueue, WhoeverTellsDoesNotWaitAndAllIsTold) {
    std::promise<void> free;
    const auto freed = free.get_future().share();
    std::mutex mutex;
    std::vector<std::string> told;
    const auto tell = [&](const Served& served) {
        freed.wait();
        const std::lock_guard lock(mutex);
        told.push_back(served.id);
    };
    ServedQueue queue(tell, {});
    queue.start();
    const auto named = [](const std::string& id) {
        Served served;
        served.id = id;
        return served;
    };
    std::vector<std::string> all;
    for (int i = 0; i < 100; ++i) {
        all.push_back(std::to_string(i));
        queue.push(named(all.back()));  // would wait forever if it waited
    }
    {
        const std::lock_guard lock(mutex);
        EXPECT_TRUE(told.empty());
    }
    free.set_value();
    queue.stop();
    EXPECT_EQ(told, all);
    queue.push(named("late"));
    EXPECT_EQ(told.back(), "late");
}

}  // namespace
}  // namespace cachalot::server
