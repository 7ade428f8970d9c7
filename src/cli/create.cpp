#include "cli/create.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "base/fd.h"
#include "config/default_config.h"
#include "config/vm_config.h"

namespace ftvmm::cli {

namespace {

Result<void> write_all(const Fd& fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd.get(), text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return Failure(Error::from_errno(errno, "it could not be written"));
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

}  // namespace

Result<std::string> create_config(const CreateOptions& options, Entropy& entropy) {
    if (!config::is_vm_name(options.name)) {
        return fail(fmt::format("\"{}\" is no name for a VM", options.name),
                    "use 1 to 63 of the characters a-z, 0-9 and -");
    }
    const std::string path =
        (std::filesystem::path(options.dir) / (options.name + ".toml")).lexically_normal().string();
    const config::Uuid uuid = config::Uuid::random(entropy);
    const config::MacAddress mac = config::MacAddress::random(entropy);

    // O_EXCL: whatever is there, even a dangling link, stays as it is.
    constexpr mode_t kMode = 0644;
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
    if (!fd.valid()) {
        const char* advice = errno == EEXIST ? "choose another name, or move that file away" : "";
        return Failure(Error::from_errno(errno, path, advice));
    }
    if (const auto written = write_all(fd, config::default_config_text(options.name, uuid, mac));
        !written) {
        ::unlink(path.c_str());
        return Failure(written.error().with_context(path));
    }
    return path;
}

int create(const CreateOptions& options) {
    SystemEntropy entropy;
    const auto path = create_config(options, entropy);
    if (!path) {
        fmt::print(stderr, "ftvmm create: {}\n", path.error().line());
        return 1;
    }
    fmt::print("wrote {}; edit it, then run: ftvmm config check {}\n", *path, *path);
    return 0;
}

}  // namespace ftvmm::cli
