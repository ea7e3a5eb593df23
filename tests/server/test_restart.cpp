// What a server that is started again still knows of a conversation, and what it must not know.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "engine/state_fingerprint.h"
#include "model/content_fingerprint.h"
#include "server/api/openai.h"
#include "server/support.h"
#include "service/engine_service.h"
#include "service/prepared_prompt.h"
#include "service/turn_store.h"
#include "support/nano.h"
#include "support/tiny_release.h"

namespace cachalot::server {
namespace {

namespace fs = std::filesystem;
using cachalot::test::TemporaryFolder;
using test::ask;
using testing::HasSubstr;

class Restart : public testing::Test {
  protected:
    // A server with nothing in memory.
    struct Process {
        explicit Process(const fs::path& kv, const std::string& model = cachalot::test::kNanoPath)
            : engine(Model::load(model), {2}) {
            if (!kv.empty()) {
                turns.emplace(kv, tokenizer_fingerprint(engine.model().tokenizer));
                DiskTierOptions o;
                o.folder = kv;
                o.model = state_fingerprint(engine);
                disk.emplace(o, engine.kv_pool());
            }
            EngineServiceOptions o;
            o.sampling.temperature = 0;
            o.turns = turns ? &*turns : nullptr;
            // It becomes known after the first request only.
            o.late_disk = [this] { return open && disk ? &*disk : nullptr; };
            service = make_engine_service(engine, o);
            routes = openai_routes(*service);
        }
        ordered_json answer(const ordered_json& body, int status = 200) {
            return ask(routes, "/v1/chat/completions", body, status);
        }
        Engine engine;
        std::optional<TurnStore> turns;
        std::optional<DiskTier> disk;
        std::atomic<bool> open = true;
        std::unique_ptr<Service> service;
        std::vector<Route> routes;
    };

    static ordered_json weather(bool thinking) {
        return ordered_json{
            {"messages", {{{"role", "user"}, {"content", "What is the weather in Paris?"}}}},
            {"max_tokens", 400},
            {"thinking", {{"type", thinking ? "enabled" : "disabled"}}},
            {"tool_choice", "required"},
            {"tools", ordered_json::parse(R"([{"type": "function", "function": {"name": "get_weather",
                "description": "Get the weather of a city.", "parameters": {"type": "object",
                "properties": {"city": {"type": "string"}}, "required": ["city"]}}}])")}};
    }

    // As a client goes on that drops the reasoning and writes arguments in its own way.
    static void go_on(ordered_json& body, const ordered_json& answer) {
        auto back = answer["choices"][0]["message"];
        back.erase("reasoning_content");
        for (auto& call : back["tool_calls"]) {
            auto& arguments = call["function"]["arguments"];
            arguments = ordered_json::parse(arguments.get<std::string>()).dump(4);
        }
        body["tool_choice"] = "auto";
        body["max_tokens"] = 8;
        body["messages"].push_back(back);
        for (const auto& call : back["tool_calls"])
            body["messages"].push_back(
                {{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "sunny, 21 degrees"}});
    }

    static int cached(const ordered_json& answer) {
        return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
    }

    static std::vector<std::int32_t> prompt(const ordered_json& body, TurnStore& turns,
                                            const Tokenizer& tokenizer) {
        ToolMemory memory({}, &turns);
        Request request;
        request.conversation = conversation_from_json(body);
        request.conversation.tools = tools_from_json(body["tools"], "tools");
        request.chat.thinking = body["thinking"]["type"] == "enabled";
        return prepare_prompt(request, tokenizer, memory).tokens;
    }

    TemporaryFolder folder;
    fs::path kv = folder.path() / "kv";
};

TEST_F(Restart, AToolLoopGoesOnWithTheSamePrompt) {
    for (bool thinking : {false, true}) {
        auto body = weather(thinking);
        ordered_json unbroken;
        int known = 0;
        {
            Process first(kv);
            const auto call = first.answer(body);
            ASSERT_EQ(call["choices"][0]["finish_reason"], "tool_calls") << call;
            // Everything but the EOS, which was chosen but never evaluated.
            known =
                call["usage"]["prompt_tokens"].get<int>() + call["usage"]["completion_tokens"].get<int>() - 1;
            go_on(body, call);
            first.disk->flush();
        }
        {
            Process again(kv);
            unbroken = again.answer(body);
            EXPECT_GE(cached(unbroken), known - 1) << thinking;
            // To the last token what was written.
            const auto text = prompt(body, *again.turns, again.engine.model().tokenizer);
            EXPECT_EQ(unbroken["usage"]["prompt_tokens"], text.size());
            TemporaryFolder empty;
            TurnStore nothing(empty.path() / "kv", {});
            if (thinking) {
                EXPECT_NE(prompt(body, nothing, again.engine.model().tokenizer), text);
            }
            // Another one's session it is not.
            auto stranger = body;
            stranger["cache_salt"] = "x";
            EXPECT_EQ(cached(again.answer(stranger)), 0);
        }
        Process without({});
        EXPECT_EQ(cached(without.answer(body)), 0);
    }
}

TEST_F(Restart, PrefixesOnDiskMayBeKnownLate) {
    const ordered_json body = {
        {"messages", {{{"role", "user"}, {"content", "What is the capital of France?"}}}},
        {"max_tokens", 12}};
    {
        Process first(kv);
        first.answer(body);
        first.disk->flush();
    }
    Process again(kv);
    again.open = false;
    const ordered_json other = {{"messages", {{{"role", "user"}, {"content", "Tell me a story."}}}},
                                {"max_tokens", 2}};
    again.answer(other);
    EXPECT_EQ(again.disk->stats().written, 0);
    again.open = true;
    EXPECT_GT(cached(again.answer(body)), 0);
}

// No answer, and no prefix that is kept, from the weights of two files.
TEST_F(Restart, AModelThatChangesInPlaceIsNotUsedAnyMore) {
    const auto copy = folder.path() / "nano.gguf";
    fs::copy_file(cachalot::test::kNanoPath, copy);
    const ordered_json body = {
        {"messages", {{{"role", "user"}, {"content", "What is the capital of France?"}}}},
        {"max_tokens", 12}};
    for (bool time_set_back : {false, true}) {
        Process p(kv, copy.string());
        p.answer(body);
        p.disk->flush();
        const auto written = p.disk->stats().written;
        struct stat before {};
        ASSERT_EQ(::stat(copy.c_str(), &before), 0);
        {
            std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
            file.seekp(-1000, std::ios::end).put('x');
        }
        if (time_set_back) {
            const timespec times[2] = {before.st_atim, before.st_mtim};
            ASSERT_EQ(::utimensat(AT_FDCWD, copy.c_str(), times, 0), 0);
        }
        for (int i = 0; i < 3; ++i) {
            const auto error = p.answer(body, 500)["error"];
            EXPECT_EQ(error["code"], "model_changed");
            EXPECT_THAT(error["message"].get<std::string>(),
                        HasSubstr("nano.gguf: was changed while in use"));
        }
        p.disk->flush();
        EXPECT_EQ(p.disk->stats().written, written);
    }
    // A new file of that name is another matter.
    Process p(kv, copy.string());
    const auto answer = p.answer(body);
    fs::copy_file(cachalot::test::kNanoPath, folder.path() / "new");
    fs::rename(folder.path() / "new", copy);
    EXPECT_EQ(p.answer(body)["choices"], answer["choices"]);
}

// Running answers end with the error; what they had read is not kept.
TEST_F(Restart, AnAnswerThatIsBeingWrittenEndsWhenTheModelChanges) {
    const auto copy = folder.path() / "nano.gguf";
    fs::copy_file(cachalot::test::kNanoPath, copy);
    Process p(kv, copy.string());
    const ordered_json body = {{"messages", {{{"role", "user"}, {"content", "Tell me a long story."}}}},
                               {"max_tokens", 100'000},
                               {"ignore_eos", true},
                               {"stream", true}};
    auto running = test::call(p.routes, "POST", "/v1/chat/completions", body.dump());
    ASSERT_TRUE(running->wait_for_text("\"content\":\" "));
    std::fstream(copy, std::ios::in | std::ios::out | std::ios::binary).seekp(-1000, std::ios::end).put('x');
    ASSERT_TRUE(running->wait());
    EXPECT_THAT(running->body, HasSubstr("model_changed"));
}

}  // namespace
}  // namespace cachalot::server
