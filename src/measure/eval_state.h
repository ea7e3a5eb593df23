// The outcomes of a run of checks in a file, so that it can go on where it stopped and later be compared
// with.
//
// One JSON object a line: first what was run ({"cachalot_eval": 1, "run": "...", "model": "..."}), then an
// outcome in each. A last line that is cut off, as a killed process leaves it, does not count.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

#include "measure/eval_run.h"

namespace cachalot {

nlohmann::ordered_json to_json(const EvalOutcome& outcome);

struct EvalRecord {
    std::string run;                              // what has to be equal for outcomes to belong together
    std::string model;                            // for people
    std::map<std::string, EvalOutcome> outcomes;  // by id
};

// Throws Error naming the source and the line.
EvalRecord parse_eval_record(std::string_view text, const std::string& source);

class EvalState {
  public:
    // Without a path nothing is kept. Otherwise the file is begun, or read if it exists. Throws Error if it
    // is of another run or cannot be written.
    EvalState(const std::filesystem::path& path, const std::string& run, const std::string& model);

    const EvalOutcome* find(const std::string& id) const;
    // Written at once.
    void add(const EvalOutcome& outcome);

  private:
    EvalRecord record_;
    std::string path_;
    std::ofstream file_;
};

}  // namespace cachalot
