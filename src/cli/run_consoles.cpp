#include "cli/run_consoles.h"

#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>

#include "vmm/host/console_log.h"
#include "vmm/host/console_socket.h"
#include "vmm/host/terminal_console.h"

namespace ftvmm::cli {

namespace {

using replay::ConsolePort;

// The console that the user means without saying which.
ConsolePort own_port(const config::VmConfig& config) {
    return config.console.kind == config::ConsoleKind::kVirtio ? ConsolePort::kVirtio
                                                               : ConsolePort::kSerial;
}

Result<node::NodeConsole> listen_at(std::string_view where, ConsolePort port) {
    constexpr std::string_view kSerial = "serial=";
    constexpr std::string_view kVirtio = "virtio=";
    if (where.starts_with(kSerial)) {
        port = ConsolePort::kSerial;
        where.remove_prefix(kSerial.size());
    } else if (where.starts_with(kVirtio)) {
        port = ConsolePort::kVirtio;
        where.remove_prefix(kVirtio.size());
    }
    FTVMM_ASSIGN(auto socket, host::ConsoleSocket::listen(std::string(where)));
    return node::NodeConsole{port, std::move(socket)};
}

}  // namespace

Result<std::vector<node::NodeConsole>> open_consoles(const RunOptions& options,
                                                     const config::VmConfig& config) {
    std::vector<node::NodeConsole> consoles;
    const ConsolePort port = own_port(config);
    if (config.console.log) {
        FTVMM_ASSIGN(auto log, host::ConsoleLog::open(*config.console.log));
        consoles.push_back({port, std::move(log)});
    }
    for (const auto& where : options.console_sockets) {
        FTVMM_ASSIGN(auto console, listen_at(where, port));
        consoles.push_back(std::move(console));
    }
    if (!options.headless) {
        FTVMM_ASSIGN(auto terminal, host::TerminalConsole::attach(STDIN_FILENO, STDOUT_FILENO));
        consoles.push_back({port, std::move(terminal)});
    }
    return consoles;
}

}  // namespace ftvmm::cli
