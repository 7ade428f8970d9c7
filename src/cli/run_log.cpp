#include "cli/run_log.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "node/log.h"
#include "replay/content_hash.h"
#include "vmm/machine/kvm_machine.h"

namespace ftvmm::cli {

Result<void> RunLog::create(const std::string& path, const replay::LogHeader& header,
                            node::VcpuControl& control) {
    FTVMM_ASSIGN(auto writer, replay::LogWriter::create(path, header));
    thread = std::make_unique<node::LogThread>(std::move(writer), [&control](const Error& error) {
        node::log_to_stderr(
            error.with_context("the log can not go on, so the guest's power ends").line());
        control.stop();
    });
    recording.emplace(*thread, [](replay::GuestMachine& guest) {
        return dynamic_cast<machine::KvmMachine&>(guest).settle_dirty_pages();
    });
    kernel_hash = header.kernel_hash;
    initrd_hash = header.initrd_hash;
    return {};
}

Result<void> RunLog::check(const node::BootFiles& files) const {
    if (!recording) return {};
    const bool is_same = replay::content_hash(files.kernel) == kernel_hash &&
                         (files.initrd.empty() ? initrd_hash.empty()
                                               : replay::content_hash(files.initrd) == initrd_hash);
    if (is_same) return {};
    return fail(
        "the kernel or the initrd has changed while the VM was recorded: its next life "
        "would be in no log",
        "record it anew");
}

Result<void> RunLog::finish() {
    if (!thread) return {};
    FTVMM_TRY(thread->finish());
    node::log_to_stderr(
        fmt::format("the log is whole: {} bytes, {:.2f} s of CPU time to pack and write it",
                    thread->bytes(), std::chrono::duration<double>(thread->cpu_time()).count()));
    return {};
}

}  // namespace ftvmm::cli
