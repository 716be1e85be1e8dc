import { defineConfig } from "vite";

// What Airflow's page offers to plugins as globals: none of it is in the bundle.
const host = {
  react: "React",
  "react/jsx-runtime": "ReactJSXRuntime",
  "react-router-dom": "ReactRouterDOM",
  "@chakra-ui/react": "ChakraUI",
};

export default defineConfig({
  build: {
    emptyOutDir: false,
    lib: { entry: "src/main.tsx", fileName: () => "main.js", formats: ["umd"], name: "AirflowPlugin" },
    outDir: "../static",
    rolldownOptions: { external: Object.keys(host), output: { globals: host } },
    target: "es2022",
  },
  define: { "process.env.NODE_ENV": '"production"' },
});
