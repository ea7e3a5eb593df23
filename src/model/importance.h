// How much each input of each matrix matters, measured on text: what a quantiser weights its errors with.
//
// A row of weights w that is stored as w' makes an error of sum over columns (w - w')_c x_c, whose expected
// square is about sum over c of (w - w')_c^2 E[x_c^2] if the inputs are uncorrelated. So E[x_c^2] is kept: of
// a dense matrix for each column, of routed experts for each column of each expert, over the tokens that
// chose it.
//
// The files are those of llama.cpp's imatrix tool (since it writes GGUF), in both directions:
//
//     general.type          "imatrix"
//     imatrix.datasets      str[]  the texts
//     imatrix.chunk_count   u32    pieces that were evaluated, each from an empty context
//     imatrix.chunk_size    u32    tokens of a piece
//     NAME.in_sum2          F32 [experts, columns]  sums of squared inputs; NAME is the tensor's, with
//                           ".weight"
//     NAME.counts           F32 [experts, 1]        tokens that were summed
//
//     cachalot.imatrix.text, .text_chunks  of whoever collects: what the text is, and how much of it is done
//
// with one expert for dense matrices. Other tensors (NAME.in_sum) are passed over. The older format (.dat) is
// not read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file/gguf.h"

namespace cachalot {

class ImportanceMatrix {
  public:
    struct Entry {
        std::int64_t experts = 0, columns = 0;
        std::vector<float> sums;           // [experts, columns]
        std::vector<std::int64_t> counts;  // [experts]
    };

    // Throws Error naming file and tensor.
    static ImportanceMatrix load(const std::filesystem::path& path);
    static ImportanceMatrix parse(const Gguf& file);

    // Replaces the file at once or not at all. Throws Error if a sum is not finite, which only damaged
    // weights give.
    void save(const std::filesystem::path& path) const;

    // About the size that the file will have, whatever is counted: that of its figures.
    std::uint64_t file_bytes() const;

    // E[x^2] for each of the `columns` inputs of an expert (0 of a dense matrix). Empty if the tensor or the
    // expert was never seen: then nothing is known, which is not the same as zero. Throws Error if the entry
    // is for another number of columns or experts.
    std::vector<float> find(std::string_view tensor, std::int64_t expert, std::int64_t columns) const;

    // The same over all experts of the tensor together, each by how often it was seen: the best guess for one
    // that was not.
    std::vector<float> mean(std::string_view tensor, std::int64_t columns) const;

    // The entry of a tensor, made of zeros if it is new. Throws Error if it has another shape.
    Entry& entry(std::string_view tensor, std::int64_t experts, std::int64_t columns);

    // Adds what another one has seen. Throws Error naming the tensor if their shapes differ; nothing has
    // changed then.
    void merge(const ImportanceMatrix& other);

    const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }

    // Where the figures are from.
    std::vector<std::string> datasets;
    std::uint32_t chunk_count = 0, chunk_size = 0;

    // Of a collection that can go on where it stopped; merge() leaves it alone.
    std::string text;
    std::uint32_t text_chunks = 0;

  private:
    const Entry* checked(std::string_view tensor, std::int64_t expert, std::int64_t columns) const;

    std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace cachalot
