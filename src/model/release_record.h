// What a GGUF file that was made from a release without any loss keeps of it beside the weights, so that the
// release can be written again byte by byte:
//
//     cachalot.release.files     str[]  names of the files
//     cachalot.release.contents  str[]  config.json, tokenizer.json and so on as they are; of *.safetensors
//                                the header
//
// Without any loss means: experts as MXFP4, FP8 matrices kept (--dense f8_e4m3), the rest in its own types.
#pragma once

#include <filesystem>
#include <functional>

namespace cachalot {

class GgufWriter;
class ReleaseCheckpoint;
class GgufCheckpoint;

struct ReleaseRecord {
    static void write(const std::filesystem::path& release, GgufWriter& writer);
    static void clear(GgufWriter& writer);
};

struct ReleaseSummary {
    std::uint64_t bytes = 0;
    int files = 0, tensors = 0;
    int added = 0;     // tensors of the GGUF file that the release had not: of a drafter that was put in
    int left_out = 0;  // tensors that the release had and the GGUF file has not: of the drafter, of pictures
};

// Writes the release again, into a folder that must not exist. The folder appears when it is complete. Throws
// Error, also if the file does not have the record.
ReleaseSummary write_release(
    const GgufCheckpoint& source, const std::filesystem::path& folder,
    const std::function<void(std::uint64_t done, std::uint64_t total)>& progress = {});

}  // namespace cachalot
