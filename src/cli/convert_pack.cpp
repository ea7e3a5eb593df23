#include "cli/convert_pack.h"

#include <filesystem>

#include "base/error.h"
#include "cli/command.h"
#include "cli/outputs.h"
#include "model/expert_pack.h"

namespace cachalot::cli {

void convert_to_pack(const std::string& input, const std::string& engram, std::string output, bool force) {
    if (output.empty()) output = default_pack_path(input).string();
    CommandFiles{.models = {input}, .inputs = {engram}, .outputs = {output}}.check();
    check_new_file(output, force);
    const auto model = Model::load(input, {.engram = engram});
    Progress progress("packing", "bytes", true);
    write_pack(*model, output,
               [&](std::uint64_t done, std::uint64_t total) { progress.update(done, total); });
    progress.clear();
    print_line(fmt::format("{}: {}, {} experts", output, human_bytes(pack_layout(*model).file_bytes),
                           model->config.layers * model->config.experts));
}

}  // namespace cachalot::cli
