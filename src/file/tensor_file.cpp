#include "file/tensor_file.h"

#include <fmt/ranges.h>

#include "base/checked.h"
#include "base/error.h"
#include "file/in_quotes.h"

namespace cachalot {

const TensorView* TensorFile::find(std::string_view name) const {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return nullptr;
    const StoredTensor& tensor = tensors_[found->second];
    if (!tensor.supported)
        fail(
            "{}: tensor {} has the unsupported type {}; "
            "use a file whose tensors have other types, or make one from the release with `cachalot convert`",
            files_.empty() ? source_ : files_[tensor.file].path(), in_quotes(name), in_quotes(tensor.type));
    if (!files_.empty()) files_[tensor.file].check_not_truncated();
    return &tensor.view;
}

const TensorView& TensorFile::get(std::string_view name) const {
    const TensorView* view = find(name);
    if (!view) fail("{}: there is no tensor {}", source_, in_quotes(name));
    return *view;
}

const StoredTensor& TensorFile::stored(std::string_view name) const {
    get(name);
    return tensors_[by_name_.find(name)->second];
}

void TensorFile::index_names() {
    by_name_.clear();
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
        const std::string& name = tensors_[i].view.name;
        if (!by_name_.emplace(name, i).second) fail("{}: tensor {} appears twice", source_, in_quotes(name));
    }
}

std::size_t tensor_bytes(DType type, std::span<const std::int64_t> shape) {
    std::int64_t elements = 1;
    std::int64_t rows = 1;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] < 0) fail("negative dimension {}", shape[i]);
        rows = elements;
        elements = checked_mul(elements, shape[i], "number of elements");
    }
    const std::int64_t columns = shape.empty() ? 1 : shape.back();
    return static_cast<std::size_t>(checked_mul(rows, row_bytes(type, columns), "size in bytes"));
}

std::string shape_text(std::span<const std::int64_t> shape) {
    return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace cachalot
