// NVRTC: g++ compiles the sources, with a launcher for each kernel.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <regex>
#include <sstream>
#include <string>
#include <unistd.h>

struct Program { std::string source, image, log; };
namespace fs = std::filesystem;

static std::string read_all(const fs::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

static int compile(Program& program) {
    const char* shim = getenv("SIMULATED_GPU_SHIM");
    if (!shim) { program.log = "SIMULATED_GPU_SHIM is not set"; return 6; }
    fs::path folder = getenv("SIMULATED_GPU_CACHE") ? getenv("SIMULATED_GPU_CACHE") : fs::temp_directory_path().string();
    fs::create_directories(folder);
    std::string whole = "#include \"" + std::string(shim) + "\"\n" + program.source;
    std::string own = std::to_string(getpid());
    std::string key = std::to_string(std::hash<std::string>()(whole + read_all(shim)));
    fs::path library = folder / ("kernels-" + key + ".so");
    if (!fs::exists(library)) {
        fs::path source = folder / (key + "-" + own + ".cpp"), log = folder / (key + "-" + own + ".log");
        fs::path made = folder / (key + "-" + own + ".so");
        std::ofstream(source) << whole;
        // Preprocessed, to find kernels whose names come from macros.
        std::string expand = "g++ -std=c++17 -E -P " + source.string() + " 2> " + log.string();
        std::string expanded;
        if (FILE* pipe = popen(expand.c_str(), "r")) {
            char buffer[1 << 16];
            while (size_t n = fread(buffer, 1, sizeof buffer, pipe)) expanded.append(buffer, n);
            pclose(pipe);
        }
        std::ofstream launchers(source, std::ios::app);
        std::regex kernel("extern \"C\"\\s+void\\s+(\\w+)\\s*\\(");
        std::string seen;
        for (auto i = std::sregex_iterator(expanded.begin(), expanded.end(), kernel); i != std::sregex_iterator(); ++i) {
            std::string name = (*i)[1];
            if (!name.rfind("simulated_", 0)) continue;
            launchers << "extern \"C\" void simulated_launch_" << name << "(void** a) { simulated_call(" << name << ", a); }\n";
        }
        launchers.close();
        std::string command = "g++ -std=c++17 -O2 -shared -fPIC -ffp-contract=off -w -o " + made.string() + " " +
                              source.string() + " 2> " + log.string();
        int status = system(command.c_str());
        program.log = read_all(log);
        fs::remove(log);
        if (status) return 6;
        fs::remove(source);
        fs::rename(made, library);
    }
    program.image = "// simulated " + library.string() + "\n";
    return 0;
}

extern "C" {
int nvrtcCreateProgram(Program** program, const char* source, const char*, int, const char* const*, const char* const*) {
    *program = new Program{source, "", ""};
    return 0;
}
int nvrtcCompileProgram(Program* program, int, const char* const*) { return compile(*program); }
int nvrtcGetProgramLogSize(Program* program, size_t* size) { *size = program->log.size() + 1; return 0; }
int nvrtcGetProgramLog(Program* program, char* log) { strcpy(log, program->log.c_str()); return 0; }
int nvrtcGetPTXSize(Program* program, size_t* size) { *size = program->image.size() + 1; return 0; }
int nvrtcGetPTX(Program* program, char* image) { strcpy(image, program->image.c_str()); return 0; }
int nvrtcDestroyProgram(Program** program) { delete *program; *program = nullptr; return 0; }
const char* nvrtcGetErrorString(int) { return "refused by the simulated GPU"; }
}
