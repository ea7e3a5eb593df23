// Writing a model as one GGUF file, and as the release that it was made from.
//
// By default nothing is lost: FP4 experts are repacked into MXFP4 bit for bit, FP8 matrices become BF16,
// which holds every value of E4M3 times a power of two, everything else stays as it is (small vectors as
// F32). type_plan.h says how other types are chosen, src/quant how values become blocks.
//
// The drafter and the vision model come along, if the model has them and they are not left out; other
// programs may refuse files with them. A drafter that lies beside its model becomes a file of its own, or is
// put into that of the model. Engram tables, which are larger than everything else, may go to a file
// of their own.
//
// A large model takes hours, so the work survives: after every few hundred megabytes the file is made
// durable, and the same conversion, started again, goes on from there (output_file.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "model/checkpoint.h"
#include "model/type_plan.h"

namespace cachalot {

class ImportanceMatrix;

struct ConvertOptions {
    TypeOptions types;
    const ImportanceMatrix* importance = nullptr;
    std::string importance_name;          // for the file's metadata
    std::filesystem::path engram;         // file for the Engram tables; empty: they are with the rest
    const Checkpoint* drafter = nullptr;  // put in for the model's own; from open_drafter() (draft_model.h)
    bool leave_out_drafter = false, leave_out_vision = false;
    int threads = 0;                  // 0: one per available core
    bool replace_unfinished = false;  // OUTPUT.partial of another conversion may be lost
    std::uint64_t checkpoint_bytes = std::uint64_t(256) << 20;
};

struct ConvertSummary {
    std::uint64_t bytes = 0;    // size of the file, or of both
    std::uint64_t resumed = 0;  // of them were there from an earlier attempt
    int tensors = 0;
    int changed = 0;  // tensors whose values were rounded
    int unmeasured =
        0;  // matrices (each expert counts) that were rounded without weights although others had some
};

using ConvertProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

// Streams the model through a few dozen megabytes of memory. Files appear under their names only when all are
// complete. Throws Error naming file and tensor, or options that exclude each other.
ConvertSummary convert(const Checkpoint& checkpoint, const std::filesystem::path& output,
                       const ConvertOptions& options, const ConvertProgress& progress = {});

}  // namespace cachalot
