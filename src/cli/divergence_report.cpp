#include "cli/divergence_report.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <iterator>
#include <utility>

#include "base/fd.h"
#include "cli/log_report.h"
#include "replay/log_file.h"
#include "vmm/machine/checkpoint_codec.h"

namespace ftvmm::cli {

using replay::CpuRegisters;

namespace {

std::optional<CpuRegisters> registers_in(const replay::record::Checkpoint& checkpoint,
                                         std::uint64_t memory_bytes) {
    const auto decoded = machine::decode_checkpoint(checkpoint.state, memory_bytes / kPageBytes);
    if (!decoded) return std::nullopt;
    return machine::registers_of(decoded->cpu.regs, decoded->cpu.sregs);
}

// Takes in records up to the one that the guest was held against.
class ExcerptReader {
  public:
    ExcerptReader(replay::Seq last, std::uint64_t memory_bytes)
        : last_(last), memory_bytes_(memory_bytes) {}

    void add(replay::Seq seq, replay::Record& record) {
        if (seq.value() + kRecordsShown >= last_.value()) {
            excerpt_.records.push_back((seq == last_ ? "> " : "  ") + render_text(seq, record));
        }
        // What the guest was held against it has not come to.
        if (seq == last_) return;
        if (std::holds_alternative<replay::record::PowerOn>(record.body)) checkpoint_.reset();
        if (std::holds_alternative<replay::record::Checkpoint>(record.body)) {
            checkpoint_ = std::move(record);
        }
    }

    LogExcerpt take() {
        if (checkpoint_) {
            const auto& body = std::get<replay::record::Checkpoint>(checkpoint_->body);
            if (const auto values = registers_in(body, memory_bytes_)) {
                excerpt_.at_checkpoint = {checkpoint_->at, *values};
            }
        }
        return std::move(excerpt_);
    }

  private:
    replay::Seq last_;
    std::uint64_t memory_bytes_;
    LogExcerpt excerpt_;
    std::optional<replay::Record> checkpoint_;
};

void add_registers(std::string& text, const CpuRegisters& values) {
    constexpr std::size_t kInLine = 4;
    const auto out = std::back_inserter(text);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const bool is_last = i % kInLine == kInLine - 1 || i + 1 == values.size();
        fmt::format_to(out, "  {:>7} {:016x}{}", replay::kCpuRegisterNames.at(i), values.at(i),
                       is_last ? "\n" : "");
    }
}

void add_processor(std::string& text, const LogExcerpt& excerpt,
                   const replay::GuestMachine& machine) {
    const auto out = std::back_inserter(text);
    const auto replayed = machine.registers();
    fmt::format_to(out, "\nthe processor of the replayed guest, at {}\n",
                   replay::describe(machine.landmark()));
    if (replayed) {
        add_registers(text, *replayed);
    } else {
        text += "  (it can not be read)\n";
    }
    if (excerpt.at_checkpoint) {
        fmt::format_to(out, "\nas it was recorded, at {}\n",
                       replay::describe(excerpt.at_checkpoint->at));
        add_registers(text, excerpt.at_checkpoint->values);
    } else {
        text += "\nas it was recorded: the log holds no processor's state before this record\n";
    }
    text += "\nthe replayed guest's code, > where it stands\n";
    const auto code = machine.code();
    for (const std::string& line : code)
        fmt::format_to(out, "{}\n", line);
    if (code.empty()) text += "  (it can not be read)\n";
}

}  // namespace

Result<LogExcerpt> read_excerpt(const std::string& log, replay::Seq seq) {
    FTVMM_ASSIGN(auto reader, replay::LogReader::open(log));
    ExcerptReader excerpt(seq, reader.header().memory_bytes);
    for (replay::Seq next(0); next <= seq;) {
        FTVMM_ASSIGN(auto batch, reader.next());
        if (!batch) break;
        next = batch->first;
        for (replay::Record& record : batch->records) {
            if (next <= seq) excerpt.add(next, record);
            next = next + 1;
        }
    }
    return excerpt.take();
}

std::string render_report(const replay::Divergence& divergence, const LogExcerpt& excerpt,
                          const replay::GuestMachine* machine) {
    std::string text =
        replay::describe(divergence) + "\n" + replay::describe_first_difference(divergence) + "\n";
    text += "\nthe last records of the log, > that which the guest was held against\n";
    for (const std::string& line : excerpt.records)
        text += line;
    if (machine != nullptr) add_processor(text, excerpt, *machine);
    return text;
}

Result<void> write_report(const std::string& file, const std::string& report) {
    const Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!fd.valid()) return Failure(Error::from_errno(errno, file));
    for (std::string_view rest = report; !rest.empty();) {
        const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Failure(Error::from_errno(errno, file));
        rest.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace ftvmm::cli
