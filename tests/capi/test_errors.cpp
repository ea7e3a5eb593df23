#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "capi/library.h"

namespace cachalot::test {
namespace {

class CapiErrors : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        auto options = engine_options();
        options.context = 64;
        shared = new EngineHandle(open_nano(options));
    }
    static void TearDownTestSuite() {
        delete shared;
        shared = nullptr;
    }
    static cachalot_engine* engine() { return shared->get(); }

    // Submits what must be refused, and returns why.
    static std::string refusal(const cachalot_request_options& options,
                               cachalot_status status = CACHALOT_INVALID) {
        cachalot_request* request = reinterpret_cast<cachalot_request*>(&shared);
        cachalot_error error{};
        EXPECT_EQ(cachalot_submit(engine(), &options, &request, &error), status);
        EXPECT_EQ(error.status, status);
        EXPECT_EQ(request, nullptr);
        return error.message;
    }

    static inline EngineHandle* shared = nullptr;
};

using testing::AllOf;
using testing::HasSubstr;

std::string open_refusal(const char* path, const cachalot_options* options, cachalot_status status) {
    cachalot_engine* engine = nullptr;
    cachalot_error error{};
    EXPECT_EQ(cachalot_open(path, options, &engine, &error), status) << error.message;
    EXPECT_EQ(engine, nullptr);
    return error.message;
}

TEST_F(CapiErrors, VersionsAreThoseOfTheHeader) {
    EXPECT_EQ(cachalot_api_version(), CACHALOT_API_VERSION);
    EXPECT_THAT(cachalot_version(), testing::MatchesRegex("[0-9]+[.][0-9]+[.][0-9]+"));
}

TEST_F(CapiErrors, AFileThatIsNoModelIsNamed) {
    EXPECT_THAT(open_refusal("/nowhere/model.gguf", nullptr, CACHALOT_FAILED),
                HasSubstr("/nowhere/model.gguf"));
    const std::string text = CACHALOT_MODELS "/nano/README.md";
    EXPECT_THAT(open_refusal(text.c_str(), nullptr, CACHALOT_FAILED), HasSubstr(text));
    EXPECT_THAT(open_refusal("", nullptr, CACHALOT_INVALID), HasSubstr("path"));
}

TEST_F(CapiErrors, OptionsOfTheEngineAreNamed) {
    auto refused = [](auto set, cachalot_status status = CACHALOT_INVALID) {
        auto options = engine_options();
        set(options);
        return open_refusal(kNano.c_str(), &options, status);
    };
    EXPECT_THAT(refused([](auto& o) { o.exact = 2; }), HasSubstr("options.exact"));
    EXPECT_THAT(refused([](auto& o) { o.kv = 7; }), HasSubstr("options.kv"));
    EXPECT_THAT(refused([](auto& o) { o.draft = -1; }), HasSubstr("options.draft"));
    EXPECT_THAT(refused([](auto& o) { o.context = -1; }), HasSubstr("options.context"));
    EXPECT_THAT(refused([](auto& o) { o.kv_memory = -1; }), HasSubstr("options.kv_memory"));
    EXPECT_THAT(refused([](auto& o) { o.reserved = 1; }), HasSubstr("options.reserved"));
    EXPECT_THAT(refused([](auto& o) { o.expert_pack_count = 1; }), HasSubstr("options.expert_packs"));
    EXPECT_THAT(refused([](auto& o) { o.size = 8; }), HasSubstr("options.size"));
    for (const int threads : {-1, 1025, 5000})
        EXPECT_THAT(refused([&](auto& o) { o.threads = threads; }), HasSubstr("options.threads"));
    for (const int parallel : {-1, 0, 1025})
        EXPECT_THAT(refused([&](auto& o) { o.parallel = parallel; }), HasSubstr("options.parallel"));
    for (const int chunk : {-1, 65537})
        EXPECT_THAT(refused([&](auto& o) { o.chunk = chunk; }), HasSubstr("options.chunk"));
    for (const int queue : {-1, 0})
        EXPECT_THAT(refused([&](auto& o) { o.queue = queue; }), HasSubstr("options.queue"));
    EXPECT_THAT(refused([](auto& o) { o.kv_disk = -1; }), HasSubstr("options.kv_disk"));
    for (const char* size : {"12GX", "", "0", "-1GB", "200%", "x%"})
        EXPECT_THAT(refused([&](auto& o) { o.expert_cache = size; }),
                    AllOf(HasSubstr("options.expert_cache"), HasSubstr(size)));
    EXPECT_THAT(refused([](auto& o) { o.kv_dir = ""; }), HasSubstr("options.kv_dir is empty"));
    EXPECT_THAT(refused([](auto& o) { o.expert_heat = ""; }), HasSubstr("options.expert_heat is empty"));
    // In range, but nothing for this model.
    EXPECT_THAT(refused([](auto& o) { o.kv_memory = 1; }, CACHALOT_FAILED), HasSubstr("memory"));
    EXPECT_THAT(refused([](auto& o) { o.expert_cache = "1"; }, CACHALOT_FAILED), HasSubstr("expert"));
    EXPECT_THAT(refused([](auto& o) { o.context = std::int64_t(1) << 40; }, CACHALOT_FAILED),
                HasSubstr("context"));
}

// A program that knows of more members than the library.
TEST_F(CapiErrors, ANewerStructureIsReadAsFarAsItIsKnown) {
    struct Newer {
        cachalot_options known;
        std::int64_t more;
    } newer;
    std::memset(&newer, 0xff, sizeof newer);
    cachalot_options_init(&newer.known, sizeof newer);
    EXPECT_EQ(newer.known.size, sizeof newer);
    EXPECT_EQ(newer.more, 0);
    newer.known.threads = 1;
    cachalot_engine* opened = nullptr;
    EXPECT_EQ(cachalot_open(kNano.c_str(), &newer.known, &opened, nullptr), CACHALOT_OK);
    EXPECT_EQ(cachalot_close(opened), CACHALOT_OK);
    newer.more = 1;
    EXPECT_THAT(open_refusal(kNano.c_str(), &newer.known, CACHALOT_INVALID), HasSubstr("does not know"));

    struct {
        cachalot_facts known;
        std::int64_t more;
    } facts;
    std::memset(&facts, 0xff, sizeof facts);
    facts.known.size = sizeof facts;
    ASSERT_EQ(cachalot_model_facts(engine(), &facts.known, nullptr), CACHALOT_OK);
    EXPECT_EQ(facts.known.context, 64);
    EXPECT_EQ(facts.more, 0);
}

// A size that nobody has set is not followed through memory.
TEST_F(CapiErrors, ASizeThatNoStructureHasIsRefused) {
    for (const std::size_t size : {std::size_t(4097), std::size_t(1) << 40, ~std::size_t(0)}) {
        cachalot_options options = engine_options();
        cachalot_options_init(&options, size);
        EXPECT_EQ(options.threads, 2);  // as it was
        EXPECT_THAT(open_refusal(kNano.c_str(), &options, CACHALOT_INVALID), HasSubstr("options.size is 0"));
        options.size = size;
        EXPECT_THAT(open_refusal(kNano.c_str(), &options, CACHALOT_INVALID),
                    HasSubstr("options.size is " + std::to_string(size)));

        cachalot_request_options asked = request_options();
        asked.text = "x";
        asked.text_size = 1;
        cachalot_request_options_init(&asked, size);
        EXPECT_EQ(asked.text_size, 1u);
        EXPECT_THAT(refusal(asked), HasSubstr("options.size is 0"));
        asked.size = size;
        EXPECT_THAT(refusal(asked), HasSubstr("options.size is " + std::to_string(size)));

        cachalot_facts facts{};
        facts.size = size;
        cachalot_error error{};
        EXPECT_EQ(cachalot_model_facts(engine(), &facts, &error), CACHALOT_INVALID);
        EXPECT_THAT(error.message, HasSubstr("facts.size is " + std::to_string(size)));

        asked = request_options();
        asked.text = "x";
        asked.text_size = 1;
        asked.max_tokens = 1;
        cachalot_request* request = nullptr;
        ASSERT_EQ(cachalot_submit(engine(), &asked, &request, nullptr), CACHALOT_OK);
        cachalot_result result{};
        result.size = size;
        EXPECT_EQ(cachalot_wait(request, -1, &result, &error), CACHALOT_INVALID);
        EXPECT_THAT(error.message, HasSubstr("result.size is " + std::to_string(size)));
        cachalot_request_free(request);
    }
}

TEST_F(CapiErrors, NothingNeedsToBeFreed) {
    cachalot_free(nullptr);
    cachalot_request_free(nullptr);
    cachalot_cancel(nullptr);
    cachalot_options_init(nullptr, 0);
    cachalot_request_options_init(nullptr, 0);
    EXPECT_EQ(cachalot_close(nullptr), CACHALOT_OK);
}

TEST_F(CapiErrors, NullIsRefusedByName) {
    cachalot_error error{};
    auto refused = [&](cachalot_status status, const char* name) {
        EXPECT_EQ(status, CACHALOT_INVALID);
        EXPECT_EQ(error.status, CACHALOT_INVALID);
        EXPECT_THAT(error.message, HasSubstr(std::string(name) + " is NULL"));
        error = {};
    };
    cachalot_engine* opened = nullptr;
    cachalot_tokens tokens{};
    cachalot_text text{};
    cachalot_bytes bytes{};
    cachalot_request* request = nullptr;
    const auto options = request_options();
    const std::int32_t token = 1;
    refused(cachalot_open(nullptr, nullptr, &opened, &error), "path");
    refused(cachalot_open(kNano.c_str(), nullptr, nullptr, &error), "engine");
    refused(cachalot_model_facts(nullptr, nullptr, &error), "engine");
    refused(cachalot_model_facts(engine(), nullptr, &error), "facts");
    refused(cachalot_tokenize(nullptr, "x", 1, 0, &tokens, &error), "engine");
    refused(cachalot_tokenize(engine(), nullptr, 1, 0, &tokens, &error), "text");
    refused(cachalot_tokenize(engine(), "x", 1, 0, nullptr, &error), "tokens");
    refused(cachalot_detokenize(nullptr, &token, 1, &text, &error), "engine");
    refused(cachalot_detokenize(engine(), nullptr, 1, &text, &error), "tokens");
    refused(cachalot_detokenize(engine(), &token, 1, nullptr, &error), "text");
    refused(cachalot_apply_template(nullptr, "[]", nullptr, 0, &text, nullptr, &error), "engine");
    refused(cachalot_apply_template(engine(), nullptr, nullptr, 0, &text, nullptr, &error), "messages");
    refused(cachalot_submit(nullptr, &options, &request, &error), "engine");
    refused(cachalot_submit(engine(), nullptr, &request, &error), "options");
    refused(cachalot_submit(engine(), &options, nullptr, &error), "request");
    refused(cachalot_wait(nullptr, 0, nullptr, &error), "request");
    refused(cachalot_state_save(nullptr, &token, 1, nullptr, &bytes, nullptr, &error), "engine");
    refused(cachalot_state_save(engine(), nullptr, 1, nullptr, &bytes, nullptr, &error), "tokens");
    refused(cachalot_state_save(engine(), &token, 1, nullptr, nullptr, nullptr, &error), "bytes");
    refused(cachalot_state_save_file(engine(), &token, 1, nullptr, nullptr, nullptr, &error), "path");
    refused(cachalot_state_load(nullptr, "x", 1, nullptr, nullptr, &error), "engine");
    refused(cachalot_state_load(engine(), nullptr, 1, nullptr, nullptr, &error), "bytes");
    refused(cachalot_state_load_file(engine(), nullptr, nullptr, nullptr, &error), "path");
}

// Numbers that nobody has counted, among them those whose bytes are 0 in 64 bits.
TEST_F(CapiErrors, CountsBeyondMemoryAreRefused) {
    const std::int32_t token = 1;
    const char* const words[] = {"x"};
    for (const std::size_t count : {std::size_t(1) << 62, std::size_t(1) << 63, ~std::size_t(0)}) {
        cachalot_error error{};
        auto refused = [&](cachalot_status status, const char* name) {
            EXPECT_EQ(status, CACHALOT_INVALID) << name << " " << count;
            EXPECT_THAT(error.message, HasSubstr(std::string(name) + ": there cannot be")) << count;
            error = {};
        };
        cachalot_text text{};
        cachalot_bytes bytes{};
        refused(cachalot_detokenize(engine(), &token, count, &text, &error), "tokens");
        refused(cachalot_state_save(engine(), &token, count, nullptr, &bytes, nullptr, &error), "tokens");
        refused(cachalot_state_save_file(engine(), &token, count, nullptr, "x", nullptr, &error), "tokens");
        EXPECT_EQ(text.data, nullptr);
        EXPECT_EQ(bytes.data, nullptr);
        if (count > std::size_t(1) << 62) {
            cachalot_tokens tokens{};
            refused(cachalot_tokenize(engine(), "x", count, 0, &tokens, &error), "text");
            refused(cachalot_state_load(engine(), "x", count, nullptr, nullptr, &error), "bytes");
        }
        auto options = request_options();
        options.tokens = &token;
        options.token_count = count;
        EXPECT_THAT(refusal(options), HasSubstr("tokens: there cannot be"));
        options = request_options();
        options.text = "x";
        options.text_size = 1;
        options.stops = words;
        options.stop_count = count;
        EXPECT_THAT(refusal(options), HasSubstr("stops: there cannot be"));
        auto opening = engine_options();
        opening.expert_packs = words;
        opening.expert_pack_count = count;
        EXPECT_THAT(open_refusal(kNano.c_str(), &opening, CACHALOT_INVALID),
                    HasSubstr("options.expert_packs: there cannot be"));
    }
}

// A named file has its folder already; only the cache folder is the engine's to make.
TEST_F(CapiErrors, TheFolderOfExpertHeatMustExist) {
    TemporaryFolder folder;
    const auto path = (folder.path() / "missing" / "x.heat").string();
    auto options = engine_options();
    options.expert_cache = "25%";
    options.expert_heat = path.c_str();
    EXPECT_THAT(open_refusal(kNano.c_str(), &options, CACHALOT_FAILED),
                AllOf(HasSubstr(path), HasSubstr("does not exist; make it first")));
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "missing"));
}

TEST_F(CapiErrors, ARequestHasOnePrompt) {
    auto options = request_options();
    EXPECT_THAT(refusal(options), HasSubstr("0 are given"));
    options.messages = "[]";
    options.text = "x";
    EXPECT_THAT(refusal(options), HasSubstr("2 are given"));
    options.messages = nullptr;
    options.thinking = CACHALOT_THINK_ON;
    EXPECT_THAT(refusal(options), HasSubstr("thinking"));
}

TEST_F(CapiErrors, ConversationsAreReadStrictly) {
    auto refused = [](const char* messages) {
        auto options = request_options();
        options.messages = messages;
        return refusal(options);
    };
    EXPECT_THAT(refused("[{"), HasSubstr("messages"));
    EXPECT_THAT(refused("[]"), HasSubstr("at least one message"));
    EXPECT_THAT(refused(R"([{"role": "wizard", "content": "x"}])"), HasSubstr("wizard"));
    EXPECT_THAT(refused(R"({"messages": [], "temperature": 1})"), HasSubstr("temperature"));
    EXPECT_THAT(refused(std::string(100'000, '[').c_str()), HasSubstr("messages"));
    EXPECT_THAT(refused(R"([{"role": "user", "text": "x"}])"), HasSubstr("messages[0].text: not supported"));
    EXPECT_THAT(refused(R"([{"role": "user", "content": "x", "images": ["y"]}])"),
                HasSubstr("messages[0].images: not supported"));
    auto options = request_options();
    const auto messages = one_message("x");
    options.messages = messages.c_str();
    options.tools = "{";
    EXPECT_THAT(refusal(options), HasSubstr("tools"));
    options.tools = R"([{"type": "computer_use"}])";
    EXPECT_THAT(refusal(options), HasSubstr("tools[0].type: 'computer_use' is not supported"));
    options.tools = R"([{"function": {"name": "a b"}}])";
    EXPECT_THAT(refusal(options), HasSubstr("tools[0].function.name: only letters"));
    options.tools = nullptr;
    options.tool_choice = "perhaps";
    EXPECT_THAT(refusal(options), HasSubstr("perhaps"));
    options.tool_choice = "required";
    EXPECT_THAT(refusal(options), HasSubstr("no tools"));
    options.tool_choice = nullptr;
    options.thinking = 9;
    EXPECT_THAT(refusal(options), HasSubstr("thinking"));
}

TEST_F(CapiErrors, OptionsOfAnAnswerAreNamed) {
    auto refused = [](auto set) {
        auto options = request_options();
        options.text = "x";
        options.text_size = 1;
        set(options);
        return refusal(options);
    };
    EXPECT_THAT(refused([](auto& o) { o.temperature = -0.5f; }), HasSubstr("temperature"));
    EXPECT_THAT(refused([](auto& o) { o.top_p = 1.5f; }), HasSubstr("top_p"));
    EXPECT_THAT(refused([](auto& o) { o.min_p = -1; }), HasSubstr("min_p"));
    EXPECT_THAT(refused([](auto& o) { o.top_k = -1; }), HasSubstr("top_k"));
    EXPECT_THAT(refused([](auto& o) { o.repetition_penalty = 0; }), HasSubstr("repetition_penalty"));
    EXPECT_THAT(refused([](auto& o) { o.seed = -2; }), HasSubstr("seed"));
    EXPECT_THAT(refused([](auto& o) { o.max_tokens = -2; }), HasSubstr("max_tokens"));
    EXPECT_THAT(refused([](auto& o) { o.stop_count = 1; }), HasSubstr("stops"));
    EXPECT_THAT(refused([](auto& o) { o.ignore_eos = 3; }), HasSubstr("ignore_eos"));
    EXPECT_THAT(refused([](auto& o) { o.size = 3; }), HasSubstr("options.size"));
    EXPECT_THAT(refused([](auto& o) { o.json_object = 2; }), HasSubstr("json_object"));
    EXPECT_THAT(refused([](auto& o) { o.reserved = 1; }), HasSubstr("reserved"));
    EXPECT_THAT(refused([](auto& o) { o.json_schema = "{"; }), HasSubstr("json_schema"));
    EXPECT_THAT(refused([](auto& o) { o.json_schema = R"({"type": "thing"})"; }), HasSubstr("json_schema"));
    EXPECT_THAT(refused([](auto& o) { o.regex = "(a"; }), HasSubstr("regex: "));
    EXPECT_THAT(refused([](auto& o) { o.grammar = "root ::= (\"a\""; }), HasSubstr("grammar: "));
    EXPECT_THAT(refused([](auto& o) { o.regex = o.grammar = "a"; }), HasSubstr("exclude each other"));
}

TEST_F(CapiErrors, TokensOutsideTheVocabularyAreRefused) {
    for (const std::int32_t token : {-1, 1 << 30}) {
        auto options = request_options();
        options.tokens = &token;
        options.token_count = 1;
        EXPECT_THAT(refusal(options), HasSubstr(std::to_string(token)));
        cachalot_text text{};
        cachalot_error error{};
        EXPECT_EQ(cachalot_detokenize(engine(), &token, 1, &text, &error), CACHALOT_INVALID);
        EXPECT_EQ(text.data, nullptr);
    }
}

TEST_F(CapiErrors, APromptMustFitIntoTheContext) {
    const std::string text(4000, '7');
    auto options = request_options();
    options.text = text.data();
    options.text_size = text.size();
    EXPECT_THAT(refusal(options, CACHALOT_TOO_LONG), HasSubstr("64"));
    const auto messages = one_message(text);
    options = request_options();
    options.messages = messages.c_str();
    refusal(options, CACHALOT_TOO_LONG);
}

TEST_F(CapiErrors, AMessageThatIsTooLongIsCutBetweenCharacters) {
    std::string path = "/nowhere/";
    while (path.size() < 5000) path += "ä";
    const auto message = open_refusal(path.c_str(), nullptr, CACHALOT_FAILED);
    EXPECT_GE(message.size(), 1018u);
    EXPECT_TRUE(message.starts_with("/nowhere/ä"));
    EXPECT_TRUE(message.ends_with("ä")) << message;
}

// What is noted while an engine is open.
std::vector<std::string> notes_of(cachalot_options options) {
    std::vector<std::string> notes;
    options.on_note = [](const char* note, void* user) {
        static_cast<std::vector<std::string>*>(user)->emplace_back(note);
    };
    options.on_note_user = &notes;
    open_nano(options).reset();
    return notes;
}

TEST_F(CapiErrors, NotesSayWhatWasChosen) {
    auto options = engine_options();
    options.expert_cache = "1%";
    EXPECT_THAT(notes_of(options), testing::Contains(HasSubstr("the expert cache holds")));
}

TEST_F(CapiErrors, AFolderThatCannotBeUsedIsNoted) {
    TemporaryFolder folder;
    const auto file = (folder.path() / "file").string();
    std::ofstream(file) << "no folder";
    for (const auto& path : {file, file + "/kv"}) {
        auto options = engine_options();
        options.kv_dir = path.c_str();
        EXPECT_THAT(notes_of(options),
                    testing::ElementsAre(
                        AllOf(testing::StartsWith("prefixes are not kept on disk: "), HasSubstr(path))));
    }
}

}  // namespace
}  // namespace cachalot::test
