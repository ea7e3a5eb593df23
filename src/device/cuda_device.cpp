#include "device/cuda_device.h"

#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/human_bytes.h"
#include "base/out_of_memory.h"
#include "device/cuda_error.h"

namespace cachalot {
namespace {

constexpr int kOldestCompute = 80;  // as in src/kernels/cuda

// What a user can do about it.
const char* remedy(cudaError_t status) {
    switch (status) {
        case cudaErrorInsufficientDriver:
            return "there is no driver of NVIDIA, or one that is older than the CUDA that this program was "
                   "built "
                   "with: install a newer one";
        case cudaErrorNoKernelImageForDevice:
        case cudaErrorInvalidDeviceFunction:
        case cudaErrorUnsupportedPtxVersion:
            return "this program has no code for the card: build it with -DCMAKE_CUDA_ARCHITECTURES=native";
        case cudaErrorDevicesUnavailable:
            return "another process uses the card alone: end that process, or name another card";
        case cudaErrorIllegalAddress:
        case cudaErrorLaunchFailure:
        case cudaErrorMisalignedAddress:
        case cudaErrorIllegalInstruction:
        case cudaErrorAssert:
            return "this is a fault of the program, which cannot use the card any more: start it again, and "
                   "please report it";
        case cudaErrorECCUncorrectable: return "the memory of the card is damaged: see nvidia-smi -q";
        default: return nullptr;
    }
}

class CudaEvent final : public Event {
  public:
    CudaEvent(int card, cudaStream_t stream) : card_(card) {
        check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
        try {
            check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
        } catch (...) {
            cudaEventDestroy(event_);
            throw;
        }
    }
    ~CudaEvent() override {
        cudaSetDevice(card_);
        cudaEventDestroy(event_);
    }
    CudaEvent(const CudaEvent&) = delete;
    CudaEvent& operator=(const CudaEvent&) = delete;

    void synchronize() override { check_cuda(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
    cudaEvent_t handle() const { return event_; }

  private:
    int card_;
    cudaEvent_t event_ = nullptr;
};

class CudaStream final : public Stream {
  public:
    explicit CudaStream(std::shared_ptr<Device> device, int card) : device_(std::move(device)), card_(card) {
        enter();
        check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
    }
    ~CudaStream() override {
        cudaSetDevice(card_);
        cudaStreamSynchronize(stream_);  // works refer to failures_
        cudaStreamDestroy(stream_);
    }
    CudaStream(const CudaStream&) = delete;
    CudaStream& operator=(const CudaStream&) = delete;

    void run(Work work) override {
        enter();
        auto owned = std::make_unique<HostWork>(HostWork{std::move(work), this});
        check_cuda(cudaLaunchHostFunc(stream_, &CudaStream::run_host_work, owned.get()),
                   "cudaLaunchHostFunc");
        (void)owned.release();  // run_host_work() deletes it
    }
    void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
        if (bytes == 0) return;
        enter();
        check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "cudaMemcpyAsync");
    }
    void zero(std::byte* to, std::size_t bytes) override {
        if (bytes == 0) return;
        enter();
        check_cuda(cudaMemsetAsync(to, 0, bytes, stream_), "cudaMemsetAsync");
    }
    std::shared_ptr<Event> record() override {
        enter();
        return std::make_shared<CudaEvent>(card_, stream_);
    }
    void wait(const std::shared_ptr<Event>& event) override {
        enter();
        check_cuda(cudaStreamWaitEvent(stream_, static_cast<CudaEvent&>(*event).handle(), 0),
                   "cudaStreamWaitEvent");
    }
    void synchronize() override {
        enter();
        check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
        std::lock_guard lock(mutex_);
        if (auto failure = std::exchange(failure_, nullptr)) std::rethrow_exception(failure);
    }

    cudaStream_t handle() const { return stream_; }

  private:
    struct HostWork {
        Work work;
        CudaStream* stream;
    };

    // A thread of the driver calls it, which may not be thrown through and may not call CUDA.
    static void run_host_work(void* given) {
        const std::unique_ptr<HostWork> owned(static_cast<HostWork*>(given));
        CudaStream& stream = *owned->stream;
        std::lock_guard lock(stream.mutex_);
        if (stream.failure_) return;
        try {
            owned->work();
        } catch (...) {
            stream.failure_ = std::current_exception();
        }
    }

    void enter() const { check_cuda(cudaSetDevice(card_), "cudaSetDevice"); }

    std::shared_ptr<Device> device_;
    const int card_;
    cudaStream_t stream_ = nullptr;
    std::mutex mutex_;
    std::exception_ptr failure_;
};

// To allocate takes the driver up to a millisecond, and to release waits for all streams. So what is released
// is kept for who asks for the same size: pages, slabs and activations come and go in few sizes. It is given
// back when the card has nothing else.
class CudaDevice final : public Device, public std::enable_shared_from_this<CudaDevice> {
  public:
    explicit CudaDevice(CudaCard card)
        : card_(std::move(card)), name_(fmt::format("cuda:{} {}", card_.index, card_.name)) {}
    ~CudaDevice() override {
        cudaSetDevice(card_.index);
        for (auto& kept : kept_) give_back(kept);
    }
    CudaDevice(const CudaDevice&) = delete;
    CudaDevice& operator=(const CudaDevice&) = delete;

    const CudaCard& card() const { return card_; }
    const char* name() const override { return name_.c_str(); }
    bool shares_memory() const override { return false; }

    std::byte* allocate(std::size_t bytes, Memory kind) override {
        const std::size_t size = rounded(bytes);
        std::lock_guard lock(mutex_);
        auto& kept = kept_[kind == Memory::pinned];
        if (const auto found = kept.find(size); found != kept.end()) {
            std::byte* memory = found->second;
            kept.erase(found);
            return memory;
        }
        check_cuda(cudaSetDevice(card_.index), "cudaSetDevice");
        void* memory = nullptr;
        cudaError_t status = ask(&memory, size, kind);
        if (status == cudaErrorMemoryAllocation) {
            cudaGetLastError();  // it is dealt with
            give_back(kept);
            status = ask(&memory, size, kind);
        }
        if (status == cudaErrorMemoryAllocation) {
            cudaGetLastError();
            throw OutOfMemory(fmt::format("{}: there is no memory for {}; {} are free", name_,
                                          human_bytes(bytes), human_bytes(free_bytes())));
        }
        check_cuda(status, kind == Memory::pinned ? "cudaHostAlloc" : "cudaMalloc");
        return static_cast<std::byte*>(memory);
    }

    void release(std::byte* memory, std::size_t bytes, Memory kind) noexcept override {
        std::lock_guard lock(mutex_);
        try {
            kept_[kind == Memory::pinned].emplace(rounded(bytes), memory);
        } catch (const std::bad_alloc&) {
            free(memory, kind);
        }
    }

    std::optional<std::uint64_t> free_memory() const override {
        std::lock_guard lock(mutex_);
        std::uint64_t bytes = free_bytes();
        for (const auto& [size, memory] : kept_[0]) bytes += size;
        return bytes;
    }

    std::unique_ptr<Stream> make_stream() override {
        return std::make_unique<CudaStream>(shared_from_this(), card_.index);
    }

  private:
    using Kept = std::multimap<std::size_t, std::byte*>;  // by size

    static std::size_t rounded(std::size_t bytes) {
        constexpr std::size_t kUnit = 512;
        return (bytes + kUnit - 1) / kUnit * kUnit + (bytes == 0 ? kUnit : 0);
    }
    static cudaError_t ask(void** memory, std::size_t size, Memory kind) {
        return kind == Memory::pinned ? cudaHostAlloc(memory, size, cudaHostAllocPortable)
                                      : cudaMalloc(memory, size);
    }
    static void free(std::byte* memory, Memory kind) noexcept {
        if (kind == Memory::pinned)
            cudaFreeHost(memory);
        else
            cudaFree(memory);
    }
    void give_back(Kept& kept) noexcept {
        const Memory kind = &kept == &kept_[1] ? Memory::pinned : Memory::device;
        for (const auto& [size, memory] : kept) free(memory, kind);
        kept.clear();
    }
    std::uint64_t free_bytes() const {
        std::size_t free = 0, total = 0;
        check_cuda(cudaSetDevice(card_.index), "cudaSetDevice");
        check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
        return free;
    }

    const CudaCard card_;
    const std::string name_;
    mutable std::mutex mutex_;
    Kept kept_[2];  // of the device; pinned
};

}  // namespace

void check_cuda(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    const char* advice = remedy(status);
    auto message = fmt::format("CUDA: {} failed: {} ({}){}{}", call, cudaGetErrorString(status),
                               cudaGetErrorName(status), advice ? "; " : "", advice ? advice : "");
    if (status == cudaErrorMemoryAllocation) throw OutOfMemory(message);
    throw Error(message);
}

bool built_with_cuda() { return true; }

CudaCards cuda_cards() {
    CudaCards found;
    int count = 0;
    if (const auto status = cudaGetDeviceCount(&count); status != cudaSuccess) {
        cudaGetLastError();
        const char* advice = remedy(status);
        found.problem = fmt::format("CUDA finds no card: {}{}{}", cudaGetErrorString(status),
                                    advice ? "; " : "", advice ? advice : "");
        return found;
    }
    for (int i = 0; i < count; ++i) {
        cudaDeviceProp p{};
        check_cuda(cudaGetDeviceProperties(&p, i), "cudaGetDeviceProperties");
        found.cards.push_back({i, p.name, p.totalGlobalMem, 10 * p.major + p.minor, p.multiProcessorCount});
    }
    if (count == 0) found.problem = "CUDA finds no card in this machine";
    return found;
}

std::shared_ptr<Device> make_cuda_device(int index) {
    const auto found = cuda_cards();
    if (found.cards.empty()) fail("cuda:{}: {}", index, found.problem);
    for (const CudaCard& card : found.cards) {
        if (card.index != index) continue;
        if (card.compute < kOldestCompute)
            fail("cuda:{}: {} has compute capability {}.{}; the kernels need {}.0 or newer", index, card.name,
                 card.compute / 10, card.compute % 10, kOldestCompute / 10);
        return std::make_shared<CudaDevice>(card);
    }
    fail("cuda:{}: this machine has {} card(s), numbered from 0", index, found.cards.size());
}

const CudaCard* card_of(const Device& device) {
    const auto* card = dynamic_cast<const CudaDevice*>(&device);
    return card ? &card->card() : nullptr;
}

CudaStreamHandle cuda_handle(Stream& stream) { return static_cast<CudaStream&>(stream).handle(); }

}  // namespace cachalot
