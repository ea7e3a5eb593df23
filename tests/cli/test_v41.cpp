// The program with models of V4.1.
#include <nlohmann/json.hpp>

#include "cli/program.h"

namespace cachalot {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class V41Commands : public Commands {
  protected:
    // The same model three times: whole, and with its tables in a file of their own.
    void make_models() {
        ASSERT_EQ(run(fmt::format("convert '{}' {} --dense f8_e4m3", release, path("whole.gguf"))).status, 0);
        ASSERT_EQ(run(fmt::format("convert '{}' {} --dense f8_e4m3 --engram-output {}", release,
                                  path("model.gguf"), path("tables.gguf")))
                      .status,
                  0);
    }
    const std::string release = CACHALOT_TEST_DATA "/tiny41";
};

TEST_F(V41Commands, EveryCommandKnowsTheNamesOfShippedModels) {
    EXPECT_THAT(run("inspect nano41").out, HasSubstr("(V4.1)"));
    EXPECT_EQ(run("convert nano41 " + path("copy.gguf") + " --leave-out drafter").status, 0);
    EXPECT_EQ(run("convert --pack nano41 " + path("pack")).status, 0);
    const auto o = run("compare --json nano nano -p 'It was a dark night, and the rain fell in torrents.'");
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(json::parse(o.out)["same_top"]["value"], 1.0);
    expect_error("convert nano42 " + path("other.gguf"), "nano42");
}

TEST_F(V41Commands, CompareGivesTheTablesToTheModelThatLacksThem) {
    make_models();
    const auto compare = [&](const std::string& models, const std::string& tables) {
        return fmt::format("compare --json --ctx 64 -p 'It was a dark night, and the rain fell.' {}{}",
                           models, tables.empty() ? "" : " --engram " + path(tables));
    };
    const std::string whole = path("whole.gguf"), model = path("model.gguf");
    for (const std::string& models :
         {whole + " " + model, model + " " + whole, model + " " + model, "'" + release + "' " + model}) {
        const auto o = run(compare(models, "tables.gguf"));
        ASSERT_EQ(o.status, 0) << models << o.err;
        EXPECT_NEAR(json::parse(o.out)["kl"]["value"], 0, 1e-4) << models;
    }
    expect_error(compare(whole + " " + model, ""), "give the file that has it with --engram");
    expect_error(compare(whole + " " + whole, "tables.gguf"), "leave out " + path("tables.gguf"));
}

// Else the same command with the tables would be refused, for what it finds there.
TEST_F(V41Commands, AReleaseWithoutTablesIsNotBegun) {
    make_models();
    const std::string command = fmt::format("convert {} {} --to release", path("model.gguf"), path("again"));
    expect_error(command, "blk.0.engram_embd.weight");
    EXPECT_FALSE(std::filesystem::exists(path("again.partial")));
    const auto o = run(command + " --engram " + path("tables.gguf"));
    ASSERT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(read_text_file(path("again") + "/model.safetensors"),
              read_text_file(release + "/model.safetensors"));
}

TEST_F(V41Commands, AFileOfTablesIsCalledSo) {
    make_models();
    const auto o = run("inspect " + path("tables.gguf"));
    EXPECT_EQ(o.status, 0);
    EXPECT_THAT(o.out, HasSubstr("cannot be run: it is the Engram tables of a model"));
    expect_error("run -p x -m " + path("tables.gguf"), "the Engram tables of a model, which --engram takes");
}

TEST_F(V41Commands, TokensOfAPromptMayBeWrittenWithK) {
    const auto with = [&](const std::string& tokens) {
        return run(fmt::format("run -m '{}' --raw --temp 0 -n 4 -p 'Once upon a time' --decoder-prefill {}",
                               release, tokens));
    };
    EXPECT_EQ(with("4k").status, 0);
    EXPECT_EQ(with("4k").out, with("exact").out);
    EXPECT_EQ(with("4kk").status, 2);
    EXPECT_THAT(with("0k").err, HasSubstr("--decoder-prefill"));
}

TEST_F(V41Commands, LayersWithoutRowsAreToldWithoutThem) {
    ASSERT_EQ(run("synth " + path("m.gguf") + " --like v41-tiny --layers 1").status, 0);
    EXPECT_THAT(run("inspect " + path("m.gguf")).out, Not(HasSubstr("rows      kept")));
}

}  // namespace
}  // namespace cachalot
