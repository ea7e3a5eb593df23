// Runs the program as a user does.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "file/text_file.h"
#include "support/tiny_release.h"

namespace cachalot {

struct Outcome {
    int status;
    std::string out, err;
};

class Commands : public testing::Test {
  protected:
    // Runs `cachalot ARGUMENTS` in a shell, with `input` on stdin.
    Outcome run(const std::string& arguments, const std::string& input = "") {
        std::ofstream(path("stdin")) << input;
        std::string command =
            fmt::format("XDG_CACHE_HOME='{}' '{}' {} <'{}' >'{}' 2>'{}'", path("cache"), CACHALOT_PROGRAM,
                        arguments, path("stdin"), path("stdout"), path("stderr"));
        int status = std::system(command.c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text_file(path("stdout")),
                read_text_file(path("stderr"))};
    }
    std::string path(const std::string& name) const { return (folder.path() / name).string(); }

    // Exit status 1 and one line on stderr that names the culprit.
    void expect_error(const std::string& arguments, const std::string& culprit) {
        auto o = run(arguments);
        EXPECT_EQ(o.status, 1) << arguments << "\n" << o.err;
        EXPECT_EQ(o.out, "") << arguments;
        EXPECT_THAT(o.err, testing::StartsWith("cachalot: "));
        EXPECT_THAT(o.err, testing::HasSubstr(culprit));
        EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    }

    // Exit status 2 and two lines: what is wrong, and where help is.
    void expect_usage(const std::string& arguments, const std::string& culprit) {
        auto o = run(arguments);
        EXPECT_EQ(o.status, 2) << arguments << "\n" << o.err;
        EXPECT_EQ(o.out, "") << arguments;
        EXPECT_THAT(o.err, testing::StartsWith("cachalot: ")) << arguments;
        EXPECT_THAT(o.err, testing::HasSubstr(culprit)) << arguments;
        EXPECT_THAT(o.err, testing::HasSubstr("--help'.\n")) << arguments;
        EXPECT_THAT(o.err, testing::Not(testing::HasSubstr("Could not convert"))) << arguments;
        EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 2) << o.err;
    }

    test::TemporaryFolder folder;
};

}  // namespace cachalot
