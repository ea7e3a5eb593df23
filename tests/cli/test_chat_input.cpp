// What is typed in a chat: messages of several lines, commands, completion, history.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <deque>
#include <fstream>

#include "base/error.h"
#include "cli/chat_commands.h"
#include "cli/chat_history.h"
#include "cli/message_reader.h"
#include "file/text_file.h"
#include "support/tiny_release.h"

namespace cachalot::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kInterrupt = "^C";

// The messages that lines become; kInterrupt stands for Ctrl-C, as an input and as an outcome.
std::vector<std::string> messages(std::deque<std::string> lines) {
    MessageReader reader([&](const char*, std::string& line) {
        if (lines.empty()) return Typed::end;
        line = lines.front();
        lines.pop_front();
        return line == kInterrupt ? Typed::interrupted : Typed::something;
    });
    std::vector<std::string> result;
    std::string message;
    for (Typed typed; (typed = reader.read(message)) != Typed::end;) {
        if (typed == Typed::interrupted) {
            EXPECT_EQ(message, "");
        }
        result.push_back(typed == Typed::interrupted ? kInterrupt : message);
    }
    return result;
}

TEST(MessageReader, JoinsContinuedLines) {
    EXPECT_THAT(messages({"one", "two\\", "three\\", "four", "five"}),
                ElementsAre("one", "two\nthree\nfour", "five"));
    EXPECT_THAT(messages({"cut\\"}), ElementsAre("cut"));
    EXPECT_THAT(messages({"", "x"}), ElementsAre("", "x"));
}

TEST(MessageReader, DropsWhatIsInterrupted) {
    EXPECT_THAT(messages({"not to be sent\\", kInterrupt, "next"}), ElementsAre(kInterrupt, "next"));
    EXPECT_THAT(messages({"\"\"\"", "not", "to be sent", kInterrupt, "next"}),
                ElementsAre(kInterrupt, "next"));
    EXPECT_THAT(messages({kInterrupt, "a\\", "b\\", kInterrupt}), ElementsAre(kInterrupt, kInterrupt));
}

TEST(MessageReader, TakesQuotedBlocksAsTheyAre) {
    EXPECT_THAT(messages({"\"\"\"", "a\\", "", "  b", "\"\"\"", "c"}), ElementsAre("a\\\n\n  b", "c"));
    EXPECT_THAT(messages({"\"\"\"one line\"\"\"", "x"}), ElementsAre("one line", "x"));
    EXPECT_THAT(messages({"\"\"\"first", "last\"\"\""}), ElementsAre("first\nlast"));
    EXPECT_THAT(messages({"/system \"\"\"Be", "brief.\"\"\""}), ElementsAre("/system Be\nbrief."));
    EXPECT_THAT(messages({"\"\"\"", "never closed"}), ElementsAre("never closed"));
    EXPECT_THAT(messages({"\"\"\"", "\"\"\"", "x"}), ElementsAre("", "x"));
    EXPECT_THAT(messages({"a \"\"\" b"}), ElementsAre("a \"\"\" b"));
}

TEST(MessageReader, ReadsFilesFromWindows) {
    EXPECT_THAT(messages({"one\r", "two\\\r", "three\r", "/quit\r"}),
                ElementsAre("one", "two\nthree", "/quit"));
    EXPECT_THAT(messages({"\"\"\"\r", "a\r", "b\r", "\"\"\"\r"}), ElementsAre("a\nb"));
}

TEST(ChatLine, TellsCommandsFromQuestions) {
    EXPECT_EQ(read_chat_line("/bye").verb, ChatVerb::leave);
    EXPECT_EQ(read_chat_line("/new").verb, ChatVerb::clear);
    EXPECT_EQ(read_chat_line("/?").verb, ChatVerb::help);
    const auto load = read_chat_line("/load  my talk.json ");
    EXPECT_EQ(load.verb, ChatVerb::load);
    EXPECT_EQ(load.argument, "my talk.json");
    EXPECT_EQ(read_chat_line("/system two\nlines").argument, "two\nlines");
    for (const char* text :
         {"/usr/bin/env is what?", "/etc is what?", "/* a comment */", "// another", "/", "/dev", "/2",
          " /quit", "what is /quit?", "/nosuchword\nin a pasted text", "/a-b"}) {
        const auto line = read_chat_line(text);
        EXPECT_EQ(line.verb, ChatVerb::say) << text;
        EXPECT_EQ(line.argument, text);
    }
}

TEST(ChatLine, SaysWhatIsWrong) {
    auto wrong = [](const char* text) -> std::string {
        try {
            read_chat_line(text);
            return "accepted";
        } catch (const Error& e) {
            return e.what();
        }
    };
    EXPECT_THAT(wrong("/qiut"), HasSubstr("did you mean /quit?"));
    EXPECT_THAT(wrong("/nonsense"), HasSubstr("/nonsense is no command; /help lists them"));
    EXPECT_THAT(wrong("/new York is big"), HasSubstr("/new takes nothing after it"));
    EXPECT_THAT(wrong("/save"), HasSubstr("give a file name"));
}

TEST(ChatLine, CompletesCommandsAndFiles) {
    EXPECT_THAT(chat_completions("/sa").candidates, ElementsAre("/save "));
    EXPECT_THAT(chat_completions("/s").candidates, ElementsAre("/system ", "/save ", "/stats"));
    EXPECT_TRUE(chat_completions("what is /s").candidates.empty());
    EXPECT_TRUE(chat_completions("/think o").candidates.empty());
    test::TemporaryFolder folder;
    const auto path = folder.path().string() + "/";
    std::ofstream(path + "talk one.json");
    std::ofstream(path + ".hidden");
    std::filesystem::create_directory(path + "talks");
    const auto found = chat_completions("/load " + path + "ta");
    EXPECT_EQ(found.begin, 6u);
    EXPECT_THAT(found.candidates, ElementsAre(path + "talk one.json", path + "talks/"));
    EXPECT_THAT(chat_completions("/save " + path).candidates.size(), 2u);
    EXPECT_TRUE(chat_completions("/load /no/such/folder/x").candidates.empty());
}

TEST(ChatHistory, SurvivesAndBelongsToItsOwner) {
    test::TemporaryFolder folder;
    const auto file = folder.path() / "state" / "cachalot" / "history";
    EXPECT_TRUE(ChatHistory(file).earlier().empty());
    ChatHistory(file).add("one");
    ChatHistory(file).add("two\nlines, a \\ and \\n");
    ChatHistory(file).add("");
    ChatHistory(file).add(std::string(ChatHistory::kLongestEntry, 'x'));
    EXPECT_THAT(ChatHistory(file).earlier(), ElementsAre("one", "two\nlines, a \\ and \\n"));
    struct stat about = {};
    ASSERT_EQ(stat(file.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777, 0600u);
    ASSERT_EQ(stat(file.parent_path().c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 0777, 0700u);
}

TEST(ChatHistory, IsBounded) {
    test::TemporaryFolder folder;
    const auto file = folder.path() / "history";
    std::string lines;
    for (int i = 0; i < 1500; ++i) lines += std::to_string(i) + "\n";
    std::ofstream(file) << lines;
    const ChatHistory history(file);
    ASSERT_EQ(history.earlier().size(), ChatHistory::kMostEntries);
    EXPECT_EQ(history.earlier().front(), "500");
    EXPECT_EQ(history.earlier().back(), "1499");
    const auto cut = read_text_file(file.string());
    EXPECT_EQ(std::count(cut.begin(), cut.end(), '\n'), 1000);
}

TEST(ChatHistory, KeepsNothingIfToldSo) {
    ChatHistory({}).add("secret");
    EXPECT_TRUE(ChatHistory({}).earlier().empty());
    EXPECT_THROW(ChatHistory("/proc/no/such/place").add("x"), Error);
}

}  // namespace
}  // namespace cachalot::cli
