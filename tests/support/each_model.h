// What holds for a model of every architecture is tested with each: nano (V4), nano_mtp (the same with the
// block for multi-token prediction beside it), nano41 and tiny41 (V4.1, with DSpark). They have the same
// vocabulary, so the same tokens can be read by all.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "support/golden41.h"
#include "support/nano.h"

namespace cachalot::test {

inline std::shared_ptr<const Model> model_named(const std::string& name) {
    if (name == "nano_mtp") return nano_mtp();
    return name == "nano" ? nano() : model41(name).model();
}

class ForEachModel : public testing::WithParamInterface<const char*> {
  protected:
    static std::shared_ptr<const Model> model() { return model_named(GetParam()); }
};

inline std::string name_of_model(const testing::TestParamInfo<const char*>& info) { return info.param; }

}  // namespace cachalot::test

// Of the suite, with these models.
#define CACHALOT_FOR_MODELS(suite, ...) \
    INSTANTIATE_TEST_SUITE_P(Models, suite, testing::Values(__VA_ARGS__), test::name_of_model)
