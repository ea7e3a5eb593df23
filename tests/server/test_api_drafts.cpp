// The fields that say how long drafts may be, which every dialect has.
#include "server/fields_test.h"

namespace cachalot::server::fields_test {
namespace {

TEST(ApiDrafts, AreLimitedByTheRequest) {
    for (const char* dialect : kDialects) {
        EXPECT_EQ(read(dialect, "{}").longest_draft, kLongestDraft) << dialect;
        EXPECT_EQ(read(dialect, R"({"draft": true})").longest_draft, kLongestDraft) << dialect;
        EXPECT_EQ(read(dialect, R"({"draft": "auto", "draft_max": 3})").longest_draft, 3) << dialect;
        EXPECT_EQ(read(dialect, R"({"speculative.n_max": 2, "draft_max": 4.0})").longest_draft, 2) << dialect;
        EXPECT_EQ(read(dialect, R"({"draft_max": 1000})").longest_draft, kLongestDraft) << dialect;
        for (const char* off : {R"({"draft": false})", R"({"draft": "off"})", R"({"draft_max": 0})",
                                R"({"speculative.n_max": 0})", R"({"draft": "off", "draft_max": 4})"})
            EXPECT_EQ(read(dialect, off).longest_draft, 0) << dialect << off;
    }
}

TEST(ApiDrafts, OfAKindThatTheServerDoesNotMakeAreRefused) {
    for (const char* dialect : kDialects) {
        expect_refused(dialect, R"({"draft": "mtp"})", "draft");
        expect_refused(dialect, R"({"draft": "fast"})", "draft");
        expect_refused(dialect, R"({"draft": 3})", "draft");
        expect_refused(dialect, R"({"draft_max": -1})", "draft_max");
        expect_refused(dialect, R"({"draft_max": "4"})", "draft_max");
        expect_refused(dialect, R"({"speculative.n_max": 1.5})", "speculative.n_max");
        expect_refused(dialect, R"({"speculative.p_min": 0.75})", "speculative.p_min");
        expect_refused(dialect, R"({"speculative": {"n_max": 3}})", "speculative");
        expect_refused(dialect, R"({"draftMax": 3})", "draftMax");
        expect_accepted(dialect, R"({"speculative.n_min": 0, "speculative.p_min": null})");
    }
    ModelInfo model;
    model.draft = "dspark";
    const ordered_json body = {{"draft", "dspark"}, {"draft_max", 2}};
    EXPECT_EQ(read_longest_draft(Field(body), model), 2);
    model.draft = "lookup";
    EXPECT_THROW(read_longest_draft(Field(body), model), ApiError);
}

}  // namespace
}  // namespace cachalot::server::fields_test
